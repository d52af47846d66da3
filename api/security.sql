-- name: lock
-- Several processes may start at once on an empty table: one of them makes the first key.
SELECT pg_advisory_xact_lock(7425109116003);

-- name: any_key
SELECT 1 FROM api_keys WHERE revoked_at IS NULL LIMIT 1;

-- name: keep_bootstrap_key
-- One row for ever, so that a configured key takes the place of the one before it, and of its revocation.
INSERT INTO api_keys (id, name, roles, ledgers, key_sha256)
VALUES (%(id)s, %(name)s, %(roles)s, %(ledgers)s, %(key_sha256)s)
ON CONFLICT (id) DO UPDATE SET
    roles = excluded.roles, ledgers = excluded.ledgers, key_sha256 = excluded.key_sha256, revoked_at = NULL
WHERE api_keys.key_sha256 <> excluded.key_sha256 OR api_keys.revoked_at IS NOT NULL
    OR api_keys.roles <> excluded.roles OR api_keys.ledgers <> excluded.ledgers;

-- name: add
INSERT INTO api_keys (id, name, roles, ledgers, key_sha256)
VALUES (%(id)s, %(name)s, %(roles)s, %(ledgers)s, %(key_sha256)s)
RETURNING id, name, roles, ledgers, created_at;

-- name: find
SELECT id, name, roles, ledgers, created_at FROM api_keys
WHERE key_sha256 = %(key_sha256)s AND revoked_at IS NULL;

-- name: list
-- Ids are random, so they serve to tell apart keys of the same microsecond, no more.
SELECT id, name, roles, ledgers, created_at FROM api_keys
WHERE revoked_at IS NULL
AND (%(after_time)s::timestamptz IS NULL OR (created_at, id) :beyond (%(after_time)s::timestamptz, %(after_id)s::uuid))
ORDER BY created_at :order, id :order LIMIT %(limit)s;

-- name: revoke
-- A key that is revoked already is found as well: revoking is idempotent.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %(id)s;
