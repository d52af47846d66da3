-- name: lock
-- Several processes may start at once on an empty table: one of them makes the first key.
SELECT pg_advisory_xact_lock(7425109116003);

-- name: any_key
SELECT 1 FROM valid_api_keys LIMIT 1;

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
RETURNING id, name, roles, ledgers, created_at, valid_until;

-- name: rotate
-- One statement, so that there is never a new key without an end of the old one, nor an end without a new key. A
-- rotation may bring the end of a key nearer and never puts it off; least() takes no account of null.
WITH old AS (
    UPDATE valid_api_keys
    SET valid_until = least(valid_until, clock_timestamp() + make_interval(secs => %(overlap_seconds)s))
    WHERE id = %(old_id)s
    RETURNING name, roles, ledgers
)
INSERT INTO api_keys (id, name, roles, ledgers, key_sha256)
SELECT %(id)s, name, roles, ledgers, %(key_sha256)s FROM old
RETURNING id, name, roles, ledgers, created_at, valid_until;

-- name: find
-- By the index on digests: its time depends on them alone, and they tell nothing of the keys (security.py).
SELECT id, name, roles, ledgers, created_at, valid_until FROM valid_api_keys WHERE key_sha256 = %(key_sha256)s;

-- name: look_at
SELECT id, name, roles, ledgers, created_at, valid_until FROM valid_api_keys WHERE id = %(id)s;

-- name: list
-- Ids are random, so they serve to tell apart keys of the same microsecond, no more. No limit is all.
SELECT id, name, roles, ledgers, created_at, valid_until FROM valid_api_keys
WHERE %(after_time)s::timestamptz IS NULL OR (created_at, id) :beyond (%(after_time)s::timestamptz, %(after_id)s::uuid)
ORDER BY created_at :order, id :order LIMIT %(limit)s;

-- name: revoke
-- A key that is revoked already is found as well: revoking is idempotent.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %(id)s;
