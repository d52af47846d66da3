-- Sessions of the console: a browser that signed in with a key acts with that key until ends_at, or until the key is no
-- longer valid. Only a digest of the session's token is stored. A session is no event: who signed in changed nothing.
CREATE TABLE console_sessions (
    token_sha256 bytea PRIMARY KEY,
    key_id uuid NOT NULL REFERENCES api_keys (id),
    ends_at timestamptz NOT NULL
);
CREATE INDEX console_sessions_by_end ON console_sessions (ends_at);
GRANT SELECT, INSERT, DELETE ON console_sessions TO :service;
