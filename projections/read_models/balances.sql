-- name: create_tables
CREATE TABLE balances_v:version (
    -- "C": addresses are compared byte by byte, so that a prefix is a range of the primary key.
    ledger text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL,
    asset text COLLATE "C" NOT NULL,
    normal_side text NOT NULL,
    status text NOT NULL,
    min_balance bigint,
    max_balance bigint,
    metadata jsonb NOT NULL,
    posted_debits bigint NOT NULL,
    posted_credits bigint NOT NULL,
    pending_debits bigint NOT NULL,
    pending_credits bigint NOT NULL,
    opened_at timestamptz NOT NULL,
    opening jsonb NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (ledger, address)
) WITH (fillfactor = 70);  -- amounts change all the time and are in no index, so leave room for HOT updates

-- name: create_indexes
CREATE INDEX IF NOT EXISTS balances_v:version_asset ON balances_v:version (ledger, asset, address);
CREATE INDEX IF NOT EXISTS balances_v:version_metadata ON balances_v:version USING gin (metadata jsonb_path_ops);

-- name: find
-- LATERAL with a LIMIT forces one descent of the index for each row. A plain join with unnest may be planned as a scan
-- of the whole table until its first ANALYZE.
SELECT b.*
FROM unnest(%(ledgers)s::text[], %(addresses)s::text[]) AS s(ledger, address)
CROSS JOIN LATERAL (
    SELECT ledger, address, asset, normal_side, status, min_balance, max_balance, metadata::text, posted_debits,
        posted_credits, pending_debits, pending_credits, opened_at, opening::text, version, position
    FROM balances_v:version AS b WHERE b.ledger = s.ledger AND b.address = s.address LIMIT 1
) AS b;

-- name: add
COPY balances_v:version (
    ledger, address, asset, normal_side, status, min_balance, max_balance, metadata, posted_debits, posted_credits,
    pending_debits, pending_credits, opened_at, opening, version, position
) FROM STDIN;

-- name: move
-- Amounts are added. A row at another version than expected is not changed. The last condition always holds. The planner
-- takes it for one that rarely does, so it looks rows up by their key, whatever the statistics.
UPDATE balances_v:version AS b SET
    posted_debits = b.posted_debits + c.posted_debits, posted_credits = b.posted_credits + c.posted_credits,
    pending_debits = b.pending_debits + c.pending_debits, pending_credits = b.pending_credits + c.pending_credits,
    version = c.version, position = c.position
FROM (
    SELECT unnest(%(ledger)b::text[]) AS ledger, unnest(%(address)b::text[]) AS address,
        unnest(%(posted_debits)b::bigint[]) AS posted_debits, unnest(%(posted_credits)b::bigint[]) AS posted_credits,
        unnest(%(pending_debits)b::bigint[]) AS pending_debits, unnest(%(pending_credits)b::bigint[]) AS pending_credits,
        unnest(%(version)b::bigint[]) AS version, unnest(%(position)b::bigint[]) AS position,
        unnest(%(expected)b::bigint[]) AS expected
) AS c
WHERE b.ledger = c.ledger AND b.address = c.address AND b.version = c.expected AND c.expected + 0 = c.expected;

-- name: alter
-- Rare changes, of a row that `move` has found. Null leaves a value as it is; limits are set only if they were changed.
UPDATE balances_v:version SET
    status = coalesce(%(status)s, status),
    min_balance = CASE WHEN %(limited)s THEN %(min_balance)s::bigint ELSE min_balance END,
    max_balance = CASE WHEN %(limited)s THEN %(max_balance)s::bigint ELSE max_balance END,
    metadata = coalesce(%(metadata)s::jsonb, metadata)
WHERE ledger = %(ledger)s AND address = %(address)s;

-- name: skip
-- A discarded event changes only the version, so that the next event follows it.
UPDATE balances_v:version SET version = %(version)s
WHERE ledger = %(ledger)s AND address = %(name)s AND version = %(version)s - 1;

-- name: list
-- Planned each time with its values, so that null filters vanish and a prefix becomes a range of the key: the
-- characters of an address all sort below `~`.
SELECT ledger, address, asset, normal_side, status, min_balance, max_balance, metadata::text, posted_debits,
    posted_credits, pending_debits, pending_credits, opened_at, opening::text, version, position
FROM balances_v:version
WHERE ledger = %(ledger)s
AND (%(prefix)s::text IS NULL OR address >= %(prefix)s AND address < %(prefix)s || '~')
AND (%(asset)s::text IS NULL OR asset = %(asset)s)
AND (%(status)s::text IS NULL OR status = %(status)s)
AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
AND (%(after)s::text IS NULL OR address :beyond %(after)s)
ORDER BY address :order LIMIT %(limit)s;
