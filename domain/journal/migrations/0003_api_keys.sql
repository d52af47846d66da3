-- Keys to the API. Only a hash is kept: keys are long and random, so one round of SHA-256 hides them.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    roles text[] NOT NULL,
    ledgers text[] NOT NULL,  -- {*} is every ledger
    key_sha256 bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

GRANT SELECT, INSERT, UPDATE ON api_keys TO :service;
