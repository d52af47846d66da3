-- name: lock
-- Several processes may start at once on an empty table. The lock lets one of them make the first key.
SELECT pg_advisory_xact_lock(7425109116003);

-- name: any_key
SELECT 1 FROM valid_api_keys LIMIT 1;

-- name: columns
-- Every query that returns keys calls the table `k`.
k.id, k.name, k.roles, k.ledgers, k.created_at, k.valid_until, k.created_by, k.revoked_at, k.revoked_by,
CASE
    WHEN k.revoked_at IS NOT NULL THEN 'revoked' WHEN k.valid_until <= clock_timestamp() THEN 'expired' ELSE 'active'
END;

-- name: bootstrap
SELECT key_sha256, :columns FROM api_keys AS k WHERE id = %(id)s;

-- name: keep_bootstrap_key
-- The bootstrap key has one row for ever. So a configured key replaces the former one, and its revocation.
INSERT INTO api_keys AS k (id, name, roles, ledgers, key_sha256, created_at, created_by)
VALUES (%(id)s, %(name)s, %(roles)s, %(ledgers)s, %(key_sha256)s, %(now)s, %(by)s)
ON CONFLICT (id) DO UPDATE SET
    roles = excluded.roles, ledgers = excluded.ledgers, key_sha256 = excluded.key_sha256, revoked_at = NULL,
    revoked_by = NULL
RETURNING :columns;

-- name: missing_ledgers
-- Read from the journal itself, so that a ledger opened a moment ago is found even if projections lag. In a placement the
-- map has the ledgers of other installations.
SELECT ledger FROM unnest(%(ledgers)s::text[]) WITH ORDINALITY AS named (ledger, number)
WHERE ledger <> '*' AND NOT EXISTS (
    SELECT FROM events WHERE in_stream(originator_id, ledger || '/ledger') AND originator_version = 1
) AND NOT EXISTS (SELECT FROM placements WHERE placements.ledger = named.ledger)
ORDER BY number;

-- name: valid_names
SELECT name FROM valid_api_keys;

-- name: add
INSERT INTO api_keys AS k (id, name, roles, ledgers, key_sha256, created_at, created_by)
VALUES (%(id)s, %(name)s, %(roles)s, %(ledgers)s, %(key_sha256)s, %(now)s, %(by)s)
RETURNING :columns;

-- name: end
-- A rotation may bring the end of a key nearer, but never puts it off. least() ignores null.
UPDATE api_keys AS k SET valid_until = least(valid_until, %(now)s + make_interval(secs => %(overlap_seconds)s))
WHERE id = %(id)s RETURNING :columns;

-- name: find
-- Found by the index on digests: the time depends only on the digest, which reveals nothing about the key (keys.py).
SELECT :columns FROM api_keys AS k
WHERE key_sha256 = %(key_sha256)s AND revoked_at IS NULL AND (valid_until IS NULL OR valid_until > clock_timestamp());

-- name: look_at
SELECT :columns FROM api_keys AS k WHERE id = %(id)s;

-- name: list
-- Ids are random: they only tell apart keys of the same microsecond. A null limit means all. A key is listed for
-- callers who were granted all of its ledgers.
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
