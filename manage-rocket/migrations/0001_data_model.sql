-- The data model, the same on SQLite and PostgreSQL: TEXT and BIGINT columns only.
-- Times ending in _at are whole seconds since 1970-01-01T00:00:00Z. Yes and no are 1 and 0.
-- What is append-only is guarded by the triggers of the next migration.

CREATE TABLE organisations (
    id TEXT NOT NULL PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL
);

CREATE TABLE sites (
    id TEXT NOT NULL PRIMARY KEY,
    organisation_id TEXT NOT NULL REFERENCES organisations (id),
    name TEXT NOT NULL
);

-- id is the audience of messages: what the gateway itself is configured with.
CREATE TABLE gateways (
    id TEXT NOT NULL PRIMARY KEY,
    site_id TEXT NOT NULL REFERENCES sites (id),
    address TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'off'))
);

-- A button's message is for one gateway, so a site has at most one that is active.
CREATE UNIQUE INDEX gateways_one_active_a_site ON gateways (site_id) WHERE state = 'active';

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    strategy TEXT NOT NULL,
    uid TEXT NOT NULL,
    organisation_id TEXT NOT NULL REFERENCES organisations (id),
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    may_send BIGINT NOT NULL CHECK (may_send IN (0, 1)),
    disabled BIGINT NOT NULL CHECK (disabled IN (0, 1)),
    UNIQUE (strategy, uid)
);

-- id_hash is the SHA-256 of the id in the cookie: reading this table signs nobody in.
CREATE TABLE sessions (
    id_hash TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    started_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);

-- local_date (YYYY-MM-DD) and local_time (HH:MM) are the clinic's own; time_zone is an IANA name.
CREATE TABLE clinics (
    id TEXT NOT NULL PRIMARY KEY,
    site_id TEXT NOT NULL REFERENCES sites (id),
    name TEXT NOT NULL,
    local_date TEXT NOT NULL,
    local_time TEXT NOT NULL,
    time_zone TEXT NOT NULL
);

CREATE TABLE participants (
    id TEXT NOT NULL PRIMARY KEY,
    organisation_id TEXT NOT NULL REFERENCES organisations (id),
    nhs_number TEXT NOT NULL,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    sex TEXT NOT NULL CHECK (sex IN ('F', 'M', 'O')),
    UNIQUE (organisation_id, nhs_number)
);

-- Every number ever given out, and to which appointment: a row stays when its appointment
-- goes, so that a worklist never meets one number with two people.
CREATE TABLE accession_numbers (
    number TEXT NOT NULL PRIMARY KEY,
    appointment_id TEXT NOT NULL UNIQUE,
    given_at BIGINT NOT NULL,
    UNIQUE (number, appointment_id)
);

-- revision counts corrections: a message is about one revision.
CREATE TABLE appointments (
    id TEXT NOT NULL PRIMARY KEY,
    clinic_id TEXT NOT NULL REFERENCES clinics (id),
    participant_id TEXT NOT NULL REFERENCES participants (id),
    local_time TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('booked', 'checked_in', 'screened', 'did_not_attend', 'cancelled')),
    revision BIGINT NOT NULL DEFAULT 1 CHECK (revision >= 1),
    accession_number TEXT NOT NULL UNIQUE,
    study_instance_uid TEXT NOT NULL UNIQUE,
    FOREIGN KEY (accession_number, id) REFERENCES accession_numbers (number, appointment_id)
);

CREATE INDEX appointments_of_clinic ON appointments (clinic_id);

-- What a message says, fixed for ever under its jti. source_digest tells whether the
-- appointment still says the same; content_digest covers what the gateway compares.
CREATE TABLE messages (
    jti TEXT NOT NULL PRIMARY KEY,
    gateway_id TEXT NOT NULL REFERENCES gateways (id),
    appointment_id TEXT NOT NULL REFERENCES appointments (id),
    action_type TEXT NOT NULL,
    revision BIGINT NOT NULL,
    organisation TEXT NOT NULL,
    source_reference TEXT NOT NULL,
    parameters TEXT NOT NULL,
    source_digest TEXT NOT NULL,
    content_digest TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (gateway_id, appointment_id, action_type, revision)
);

CREATE INDEX messages_of_appointment ON messages (appointment_id);

-- Each time a message was signed: the claims as signed, with which key, for whom.
CREATE TABLE signings (
    jti TEXT NOT NULL REFERENCES messages (jti),
    serial BIGINT NOT NULL,
    kid TEXT NOT NULL,
    issuer TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    signed_for TEXT NOT NULL REFERENCES users (id),
    claims TEXT NOT NULL,
    PRIMARY KEY (jti, serial)
);

-- What came back, in the order it was told. routed is 1, 0, or NULL where nobody said.
-- receipt is for an answer that the gateway signed.
CREATE TABLE outcomes (
    jti TEXT NOT NULL REFERENCES messages (jti),
    serial BIGINT NOT NULL,
    reported_at BIGINT NOT NULL,
    reported_by TEXT NOT NULL REFERENCES users (id),
    outcome TEXT NOT NULL,
    routed BIGINT CHECK (routed IN (0, 1)),
    source TEXT NOT NULL CHECK (source IN ('browser', 'gateway')),
    receipt TEXT,
    PRIMARY KEY (jti, serial)
);
