-- SQLite's half of append-only: rows of these tables can be neither changed nor removed.
-- (PostgreSQL's half is the file of the same number beside this one.)

CREATE TRIGGER accession_numbers_no_update BEFORE UPDATE ON accession_numbers
BEGIN
    SELECT RAISE(ABORT, 'accession_numbers is append-only');
END;

CREATE TRIGGER accession_numbers_no_delete BEFORE DELETE ON accession_numbers
BEGIN
    SELECT RAISE(ABORT, 'accession_numbers is append-only');
END;

CREATE TRIGGER messages_no_update BEFORE UPDATE ON messages
BEGIN
    SELECT RAISE(ABORT, 'messages is append-only');
END;

CREATE TRIGGER messages_no_delete BEFORE DELETE ON messages
BEGIN
    SELECT RAISE(ABORT, 'messages is append-only');
END;

CREATE TRIGGER signings_no_update BEFORE UPDATE ON signings
BEGIN
    SELECT RAISE(ABORT, 'signings is append-only');
END;

CREATE TRIGGER signings_no_delete BEFORE DELETE ON signings
BEGIN
    SELECT RAISE(ABORT, 'signings is append-only');
END;

CREATE TRIGGER outcomes_no_update BEFORE UPDATE ON outcomes
BEGIN
    SELECT RAISE(ABORT, 'outcomes is append-only');
END;

CREATE TRIGGER outcomes_no_delete BEFORE DELETE ON outcomes
BEGIN
    SELECT RAISE(ABORT, 'outcomes is append-only');
END;
