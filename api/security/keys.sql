-- name: lock
-- Several processes may start at once on an empty table: one of them makes the first key.
SELECT pg_advisory_xact_lock(7425109116003);

-- name: any_key
SELECT 1 FROM valid_api_keys LIMIT 1;

-- name: columns
-- In every list of keys and of every key that is found, `k` is the table.
k.id, k.name, k.roles, k.ledgers, k.created_at, k.valid_until, k.created_by, k.revoked_at, k.revoked_by,
CASE
    WHEN k.revoked_at IS NOT NULL THEN 'revoked' WHEN k.valid_until <= clock_timestamp() THEN 'expired' ELSE 'active'
END;

-- name: bootstrap
SELECT key_sha256, :columns FROM api_keys AS k WHERE id = %(id)s;

-- name: keep_bootstrap_key
-- One row for ever, so that a configured key takes the place of the one before it, and of its revocation.
INSERT INTO api_keys AS k (id, name, roles, ledgers, key_sha256, created_at, created_by)
VALUES (%(id)s, %(name)s, %(roles)s, %(ledgers)s, %(key_sha256)s, %(now)s, %(by)s)
ON CONFLICT (id) DO UPDATE SET
    roles = excluded.roles, ledgers = excluded.ledgers, key_sha256 = excluded.key_sha256, revoked_at = NULL,
    revoked_by = NULL
RETURNING :columns;

-- name: missing_ledgers
-- In the journal itself: a ledger that was opened a moment ago is there, whatever projections have read.
SELECT ledger FROM unnest(%(ledgers)s::text[]) WITH ORDINALITY AS named (ledger, number)
WHERE ledger <> '*' AND NOT EXISTS (
    SELECT FROM events WHERE originator_id = ledger || '/ledger' AND originator_version = 1
)
ORDER BY number;

-- name: valid_names
SELECT name FROM valid_api_keys;

-- name: add
INSERT INTO api_keys AS k (id, name, roles, ledgers, key_sha256, created_at, created_by)
VALUES (%(id)s, %(name)s, %(roles)s, %(ledgers)s, %(key_sha256)s, %(now)s, %(by)s)
RETURNING :columns;

-- name: end
-- A rotation may bring the end of a key nearer and never puts it off; least() takes no account of null.
UPDATE api_keys AS k SET valid_until = least(valid_until, %(now)s + make_interval(secs => %(overlap_seconds)s))
WHERE id = %(id)s RETURNING :columns;

-- name: find
-- By the index on digests: its time depends on them alone, and they tell nothing of the keys (security.py).
SELECT :columns FROM api_keys AS k
WHERE key_sha256 = %(key_sha256)s AND revoked_at IS NULL AND (valid_until IS NULL OR valid_until > clock_timestamp());

-- name: look_at
SELECT :columns FROM api_keys AS k WHERE id = %(id)s;

-- name: list
-- Ids are random, so they serve to tell apart keys of the same microsecond, no more. No limit is all. A key is shown to
-- who was granted all of its ledgers.
SELECT * FROM (SELECT :columns FROM api_keys AS k) AS shown (
    id, name, roles, ledgers, created_at, valid_until, created_by, revoked_at, revoked_by, state
)
WHERE (%(after_time)s::timestamptz IS NULL OR (created_at, id) :beyond (%(after_time)s::timestamptz, %(after_id)s::uuid))
AND (%(granted)s::text[] IS NULL OR ledgers <@ %(granted)s::text[])
AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY created_at :order, id :order LIMIT %(limit)s;

-- name: revoke
UPDATE api_keys AS k SET revoked_at = %(now)s, revoked_by = %(by)s
WHERE id = %(id)s AND revoked_at IS NULL RETURNING :columns;
