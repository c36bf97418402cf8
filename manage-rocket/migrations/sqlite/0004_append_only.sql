-- SQLite's half of append-only for sign-ins at gateways and bypass tokens.
-- (PostgreSQL's half is the file of the same number beside this one.)

CREATE TRIGGER gateway_sign_ins_no_update BEFORE UPDATE ON gateway_sign_ins
BEGIN
    SELECT RAISE(ABORT, 'gateway_sign_ins is append-only');
END;

CREATE TRIGGER gateway_sign_ins_no_delete BEFORE DELETE ON gateway_sign_ins
BEGIN
    SELECT RAISE(ABORT, 'gateway_sign_ins is append-only');
END;

CREATE TRIGGER bypass_tokens_no_update BEFORE UPDATE ON bypass_tokens
BEGIN
    SELECT RAISE(ABORT, 'bypass_tokens is append-only');
END;

CREATE TRIGGER bypass_tokens_no_delete BEFORE DELETE ON bypass_tokens
BEGIN
    SELECT RAISE(ABORT, 'bypass_tokens is append-only');
END;
