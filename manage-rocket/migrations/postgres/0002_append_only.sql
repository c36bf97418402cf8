-- PostgreSQL's half of append-only: rows of these tables can be neither changed nor removed.
-- (SQLite's half is the file of the same number beside this one.)

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END;
$$;

CREATE TRIGGER accession_numbers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON accession_numbers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER messages_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON messages
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER signings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON signings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER outcomes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON outcomes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
