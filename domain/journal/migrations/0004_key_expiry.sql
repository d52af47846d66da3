-- Keys can have an end: one that is rotated stays valid for as long as its callers need to change over.
ALTER TABLE api_keys ADD COLUMN valid_until timestamptz;  -- null is no end

-- What a valid key is, in one place. By the clock and not by when the transaction began: of two rotations at once the
-- second waits for the row, and must then find a key that has ended.
CREATE VIEW valid_api_keys AS
SELECT id, name, roles, ledgers, key_sha256, created_at, valid_until FROM api_keys
WHERE revoked_at IS NULL AND (valid_until IS NULL OR valid_until > clock_timestamp());

GRANT SELECT, UPDATE ON valid_api_keys TO :service;
