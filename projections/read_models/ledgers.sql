-- name: create_tables
CREATE TABLE ledgers_v:version (
    name text COLLATE "C" PRIMARY KEY,
    metadata jsonb NOT NULL,
    assets text[] NOT NULL,  -- in the order of their registration
    opened_at timestamptz NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL
) WITH (fillfactor = 80);

-- name: create_indexes
CREATE UNIQUE INDEX IF NOT EXISTS ledgers_v:version_opened ON ledgers_v:version (opened_at, name);

-- name: find
SELECT name, metadata, assets, opened_at, version, position FROM ledgers_v:version WHERE name = ANY(%(names)s);

-- name: keep
INSERT INTO ledgers_v:version (name, metadata, assets, opened_at, version, position)
VALUES (%(name)s, %(metadata)s, %(assets)s, %(opened_at)s, %(version)s, %(position)s)
ON CONFLICT (name) DO UPDATE SET
    assets = excluded.assets, version = excluded.version, position = excluded.position;

-- name: skip
-- A discarded event changes only the version, so that the next event follows it.
UPDATE ledgers_v:version SET version = %(version)s WHERE name = %(ledger)s AND version = %(version)s - 1;

-- name: list
-- But for ledgers that are not here, because they have left or not yet arrived. The position is where it is shown.
SELECT name, metadata, assets, opened_at, version, coalesce((
    SELECT r.shown + l.position - r.position FROM position_ranges AS r
    WHERE r.ledger = l.name AND r.position <= l.position ORDER BY r.position DESC LIMIT 1
), position)
FROM ledgers_v:version AS l
WHERE NOT EXISTS (SELECT FROM absent_ledgers AS absent WHERE absent.ledger = name) AND (%(after_time)s::timestamptz IS NULL OR (opened_at, name) :beyond (%(after_time)s, %(after_name)s))
AND (%(granted)s::text[] IS NULL OR name = ANY(%(granted)s))
ORDER BY opened_at :order, name :order LIMIT %(limit)s;
