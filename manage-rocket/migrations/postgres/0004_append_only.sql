-- PostgreSQL's half of append-only for sign-ins at gateways and bypass tokens.
-- (SQLite's half is the file of the same number beside this one.)

CREATE TRIGGER gateway_sign_ins_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON gateway_sign_ins
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER bypass_tokens_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bypass_tokens
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
