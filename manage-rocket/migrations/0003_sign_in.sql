-- Signing in by others' word, gateways' sign-ins, and bypass tokens; the same on SQLite and
-- PostgreSQL. What is append-only is guarded by the triggers of the next migration.

-- How sign-in services and gateways name an organisation (GOV.UK: organisation_content_id).
ALTER TABLE organisations ADD COLUMN content_id TEXT;
UPDATE organisations SET content_id = id;
CREATE UNIQUE INDEX organisations_content_id ON organisations (content_id);

ALTER TABLE users ADD COLUMN administrator BIGINT NOT NULL DEFAULT 0 CHECK (administrator IN (0, 1));

-- Where a gateway takes session tokens: its public address and /auth/callback. None: it has
-- no sign-in.
ALTER TABLE gateways ADD COLUMN callback TEXT;

-- Everyone signs in again once. public_id is what gateways are told of a session;
-- peer_sid is what the sign-in service calls it, where it does.
DROP TABLE sessions;
CREATE TABLE sessions (
    id_hash TEXT NOT NULL PRIMARY KEY,
    public_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES users (id),
    peer_sid TEXT,
    authenticated_at BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);

CREATE INDEX sessions_of_user ON sessions (user_id);

-- Each session token given to a gateway, by its jti.
CREATE TABLE gateway_sign_ins (
    jti TEXT NOT NULL PRIMARY KEY,
    gateway_id TEXT NOT NULL REFERENCES gateways (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    session_public_id TEXT NOT NULL,
    signed_in_at BIGINT NOT NULL,
    session_ends_at BIGINT NOT NULL
);

-- Each bypass token given out: never the token itself.
CREATE TABLE bypass_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    gateway_id TEXT NOT NULL REFERENCES gateways (id),
    subject TEXT NOT NULL,
    purpose TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    issued_by TEXT NOT NULL REFERENCES users (id),
    expires_at BIGINT NOT NULL
);

CREATE INDEX bypass_tokens_of_gateway ON bypass_tokens (gateway_id);
