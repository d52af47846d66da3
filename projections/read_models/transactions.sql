-- name: create_tables
-- A row's key is `made_position`, the position of the event that made the transaction. It never changes, and because
-- recorded time never runs against positions, it is also the order of recorded time. So the one key serves both to find
-- rows and to list them, and grows only at its end. Each filter beyond that has its own index that ends with the
-- position, so that a page costs the same however many transactions there are.
CREATE TABLE transactions_v:version (
    ledger text COLLATE "C" NOT NULL,
    made_position bigint NOT NULL,
    id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    -- JSON, written without blanks: [["users:alice","debit",5],["users:bob","credit",5]]
    entries text NOT NULL,
    reference text COLLATE "C" NOT NULL,
    description text NOT NULL,
    metadata text NOT NULL,
    effective_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    expires_at timestamptz,
    idempotency_key text NOT NULL,
    correlation_id text COLLATE "C" NOT NULL,
    actor text NOT NULL,
    settles uuid,
    voids uuid,
    reverses uuid,
    settled_by uuid,
    voided_by uuid,
    reversed_by uuid[],
    rejection_code text,
    rejection_detail text,
    made_version bigint NOT NULL,
    reversed_amount bigint NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    -- A column, so that it has statistics: the planner would assume two compared columns to be hardly ever equal.
    dated boolean NOT NULL GENERATED ALWAYS AS (effective_at <> recorded_at) STORED,
    PRIMARY KEY (ledger, made_position)
);
-- Statistics of columns by which nobody searches would take half the time of ANALYZE.
ALTER TABLE transactions_v:version
    ALTER COLUMN id SET STATISTICS 0,
    ALTER COLUMN entries SET STATISTICS 0,
    ALTER COLUMN description SET STATISTICS 0,
    ALTER COLUMN metadata SET STATISTICS 0,
    ALTER COLUMN expires_at SET STATISTICS 0,
    ALTER COLUMN idempotency_key SET STATISTICS 0,
    ALTER COLUMN actor SET STATISTICS 0,
    ALTER COLUMN settles SET STATISTICS 0,
    ALTER COLUMN voids SET STATISTICS 0,
    ALTER COLUMN reverses SET STATISTICS 0,
    ALTER COLUMN settled_by SET STATISTICS 0,
    ALTER COLUMN voided_by SET STATISTICS 0,
    ALTER COLUMN reversed_by SET STATISTICS 0,
    ALTER COLUMN rejection_code SET STATISTICS 0,
    ALTER COLUMN rejection_detail SET STATISTICS 0,
    ALTER COLUMN made_version SET STATISTICS 0,
    ALTER COLUMN reversed_amount SET STATISTICS 0,
    ALTER COLUMN version SET STATISTICS 0,
    ALTER COLUMN position SET STATISTICS 0;
CREATE TABLE transaction_accounts_v:version (
    ledger text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    made_position bigint NOT NULL
);
CREATE TABLE transaction_metadata_v:version (
    ledger text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    made_position bigint NOT NULL
);

-- name: create_indexes
-- account= is a range of this index in the order of the list; prefix= is a range of it in another order.
CREATE UNIQUE INDEX IF NOT EXISTS transaction_accounts_v:version_account
ON transaction_accounts_v:version (ledger, account, made_position);
-- A table of pairs instead of a GIN index of JSON: with GIN, a value that many share would be gathered and sorted.
CREATE UNIQUE INDEX IF NOT EXISTS transaction_metadata_v:version_pair
ON transaction_metadata_v:version (ledger, key, value, made_position);
-- These are written at as many places as there are kinds and statuses, and each place grows only at its end. They are
-- not partial, although nearly all rows are posted postings: what is common in a ledger may be rare over years of it.
CREATE INDEX IF NOT EXISTS transactions_v:version_kind ON transactions_v:version (ledger, kind, made_position);
CREATE INDEX IF NOT EXISTS transactions_v:version_status ON transactions_v:version (ledger, status, made_position);
CREATE INDEX IF NOT EXISTS transactions_v:version_reference
ON transactions_v:version (ledger, reference, made_position) WHERE reference <> '';
-- Nearly every request has its own random correlation id, so this index is written all over and must be small. A hash
-- is a quarter of the text.
CREATE INDEX IF NOT EXISTS transactions_v:version_correlation
ON transactions_v:version (ledger, hashtextextended(correlation_id, 0), made_position);
-- A transaction that takes effect when recorded is found by its recorded time. Dated ones need both of these indexes:
-- if the time range has few, they are gathered by time and sorted; if it has many, the list's order soon fills a page.
CREATE INDEX IF NOT EXISTS transactions_v:version_dated
ON transactions_v:version (ledger, effective_at, made_position) WHERE dated;
CREATE INDEX IF NOT EXISTS transactions_v:version_dated_order
ON transactions_v:version (ledger, made_position) WHERE dated;

-- name: skip
-- A discarded event changes only the version, so that the next event follows it. As for `change`, the journal leads to
-- the row.
UPDATE transactions_v:version AS t SET version = %(version)s
FROM (
    SELECT notification_id AS position FROM events WHERE in_stream(originator_id, %(stream)s) AND originator_version <= 2
) AS made
WHERE t.ledger = %(ledger)s AND t.made_position = made.position AND t.version = %(version)s - 1;

-- name: columns
-- The columns that are read.
t.ledger, t.id::text, t.kind, t.status, t.entries, t.reference, t.description, t.metadata, t.effective_at,
t.recorded_at, t.expires_at, t.idempotency_key, t.correlation_id, t.actor, t.settles::text, t.voids::text,
t.reverses::text, t.settled_by::text, t.voided_by::text, t.reversed_by::text[], t.rejection_code,
t.rejection_detail, t.made_version, t.made_position, t.reversed_amount, t.version, t.position;

-- name: add
COPY transactions_v:version (
    ledger, id, kind, status, entries, reference, description, metadata, effective_at, recorded_at, idempotency_key,
    correlation_id, actor, made_version, made_position, reversed_amount, version, position,
    expires_at, settles, voids, reverses, settled_by, voided_by, reversed_by, rejection_code, rejection_detail
) FROM STDIN;

-- name: add_posting
-- As `add`, without its last nine columns: they are null for a posting that nothing has changed.
COPY transactions_v:version (
    ledger, id, kind, status, entries, reference, description, metadata, effective_at, recorded_at, idempotency_key,
    correlation_id, actor, made_version, made_position, reversed_amount, version, position
) FROM STDIN;

-- name: add_accounts
COPY transaction_accounts_v:version (ledger, account, made_position) FROM STDIN;

-- name: add_metadata
COPY transaction_metadata_v:version (ledger, key, value, made_position) FROM STDIN;

-- name: find
-- The key of the journal leads to the event that made the transaction: the first of its stream, or the second after an
-- acceptance. An index of ids here would be written at random places by every transaction, for the few that change.
-- LATERAL with a LIMIT forces one descent of an index for each, whatever the statistics.
SELECT :columns
FROM unnest(%(ledgers)s::text[], %(streams)s::text[]) AS s(ledger, stream)
CROSS JOIN LATERAL (
    SELECT notification_id AS position FROM events
    WHERE in_stream(originator_id, s.stream) AND originator_version <= 2 LIMIT 2
) AS made
CROSS JOIN LATERAL (
    SELECT * FROM transactions_v:version WHERE ledger = s.ledger AND made_position = made.position LIMIT 1
) AS t;

-- name: change
-- Rows are found as in `find`, for the same reason, then updated by their place.
UPDATE transactions_v:version AS t SET
    status = c.status, settled_by = c.settled_by, voided_by = c.voided_by, reversed_by = c.reversed_by::uuid[],
    reversed_amount = c.reversed_amount, version = c.version, position = c.position
FROM unnest(
    %(ledger)s::text[], %(made_position)s::bigint[], %(status)s::text[], %(settled_by)s::uuid[],
    %(voided_by)s::uuid[], %(reversed_by)s::text[], %(reversed_amount)s::bigint[], %(version)s::bigint[],
    %(position)s::bigint[]
) AS c(
    ledger, made_position, status, settled_by, voided_by, reversed_by, reversed_amount, version, position
)
CROSS JOIN LATERAL (
    SELECT ctid AS place FROM transactions_v:version
    WHERE ledger = c.ledger AND made_position = c.made_position LIMIT 1
) AS found
WHERE t.ctid = found.place;

-- name: page
-- Planned each time with its values, so that null filters vanish. Every join is one to one and in the order of the
-- list, so that the rarest filter can lead and the others are looked up. The bounds of the position are stated for each
-- table, because the planner does not derive those of one from another.
SELECT :columns
FROM transactions_v:version AS t
:joins
WHERE t.ledger = %(ledger)s AND t.made_position >= %(low)s AND t.made_position < %(high)s
AND (%(positions)s::bigint[] IS NULL OR t.made_position = ANY(%(positions)s))
AND (%(prefix)s::text IS NULL OR strpos(t.entries, '["' || %(prefix)s) > 0)
AND (%(reference)s::text IS NULL OR t.reference = %(reference)s AND t.reference <> '')
AND (%(status)s::text IS NULL OR t.status = %(status)s)
AND (%(kind)s::text IS NULL OR t.kind = %(kind)s)
AND (%(correlation_id)s::text IS NULL OR t.correlation_id = %(correlation_id)s
    AND hashtextextended(t.correlation_id, 0) = hashtextextended(%(correlation_id)s, 0))
AND (%(more_metadata)s::jsonb IS NULL OR t.metadata::jsonb @> %(more_metadata)s)
AND (%(dated)s::boolean IS NULL OR t.dated = %(dated)s)
AND (%(effective_from)s::timestamptz IS NULL OR t.effective_at >= %(effective_from)s)
AND (%(effective_to)s::timestamptz IS NULL OR t.effective_at < %(effective_to)s)
ORDER BY t.made_position :order LIMIT %(limit)s;

-- name: of_account
JOIN transaction_accounts_v:version AS a ON a.ledger = %(ledger)s AND a.account = %(account)s
AND a.made_position = t.made_position AND a.made_position >= %(low)s AND a.made_position < %(high)s

-- name: of_pair
JOIN transaction_metadata_v:version AS m:number ON m:number.ledger = %(ledger)s
AND m:number.key = %(key_:number)s AND m:number.value = %(value_:number)s
AND m:number.made_position = t.made_position
AND m:number.made_position >= %(low)s AND m:number.made_position < %(high)s

-- name: gather_prefix
-- The characters of an address all sort below `~`. The order is the index's, so that only the index is read.
SELECT made_position FROM transaction_accounts_v:version
WHERE ledger = %(ledger)s AND account >= %(prefix)s AND account < %(prefix)s || '~'
ORDER BY ledger, account, made_position LIMIT %(limit)s;

-- name: gather_dated
-- Rows are counted instead of estimated: dated transactions are mostly dated back, which statistics do not show.
SELECT made_position FROM transactions_v:version WHERE ledger = %(ledger)s AND dated
AND (%(effective_from)s::timestamptz IS NULL OR effective_at >= %(effective_from)s)
AND (%(effective_to)s::timestamptz IS NULL OR effective_at < %(effective_to)s)
ORDER BY ledger, effective_at, made_position LIMIT %(limit)s;

-- name: first_since
-- The position from which on everything was recorded at or after a time, found by binary search: recorded time never
-- runs against positions, so about 25 steps down the key suffice, without an index of the time.
WITH RECURSIVE narrowed(low, high) AS (
    SELECT 0::bigint, coalesce(
        (SELECT made_position + 1 FROM transactions_v:version WHERE ledger = %(ledger)s
            ORDER BY made_position DESC LIMIT 1), 0)
    UNION ALL
    SELECT CASE WHEN t.recorded_at < %(time)s THEN t.made_position + 1 ELSE n.low END,
        CASE WHEN t.recorded_at < %(time)s THEN n.high ELSE (n.low + n.high) / 2 END
    FROM narrowed AS n CROSS JOIN LATERAL (
        SELECT made_position, recorded_at FROM transactions_v:version
        WHERE ledger = %(ledger)s AND made_position >= (n.low + n.high) / 2 ORDER BY made_position LIMIT 1
    ) AS t
    WHERE n.low < n.high
)
SELECT high FROM narrowed WHERE low >= high;
