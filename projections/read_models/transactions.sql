-- name: create_tables
-- Rows are named by `made_position`, the position of the event that made the transaction: it never changes, and since
-- recorded time never runs against positions it is the order of recorded time as well. So the one key is both how rows
-- are found and how they are listed, and grows at its end only. What every filter needs beside it is an index of its
-- own that ends with the position, so that a page costs the same however much there is.
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
    -- A column, so that it has statistics: two that are compared would be taken to be equal hardly ever.
    dated boolean NOT NULL GENERATED ALWAYS AS (effective_at <> recorded_at) STORED,
    PRIMARY KEY (ledger, made_position)
);
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
-- account= is a range of this in the order of the list, prefix= a range of it in another.
CREATE UNIQUE INDEX IF NOT EXISTS transaction_accounts_v:version_account
ON transaction_accounts_v:version (ledger, account, made_position);
-- A table of pairs and not a GIN index of JSON: of that, a value that many share would have to be gathered and sorted.
CREATE UNIQUE INDEX IF NOT EXISTS transaction_metadata_v:version_pair
ON transaction_metadata_v:version (ledger, key, value, made_position);
-- Written at as many places as there are kinds and states, each of which grows at its end only. Not partial, although
-- nearly all are posted postings: what is common in a ledger may be rare in a stretch of years of it.
CREATE INDEX IF NOT EXISTS transactions_v:version_kind ON transactions_v:version (ledger, kind, made_position);
CREATE INDEX IF NOT EXISTS transactions_v:version_status ON transactions_v:version (ledger, status, made_position);
CREATE INDEX IF NOT EXISTS transactions_v:version_reference
ON transactions_v:version (ledger, reference, made_position) WHERE reference <> '';
-- Nearly every request has a correlation id of its own, made at random: this is written all over, so it has to be
-- small. A hash is a quarter of the text.
CREATE INDEX IF NOT EXISTS transactions_v:version_correlation
ON transactions_v:version (ledger, hashtextextended(correlation_id, 0), made_position);
-- What takes effect when it is recorded is found by its recorded time. The rest needs both: few of a narrow time are
-- gathered by it and sorted, of many a page is soon met in the order of the list.
CREATE INDEX IF NOT EXISTS transactions_v:version_dated
ON transactions_v:version (ledger, effective_at, made_position) WHERE dated;
CREATE INDEX IF NOT EXISTS transactions_v:version_dated_order
ON transactions_v:version (ledger, made_position) WHERE dated;

-- name: skip
-- An event that was discarded changes nothing but the version, after which the next one comes. Rows are found by way of
-- the journal, as when they are changed.
UPDATE transactions_v:version AS t SET version = %(version)s
FROM (
    SELECT notification_id AS position FROM events WHERE originator_id = %(stream)s AND originator_version <= 2
) AS made
WHERE t.ledger = %(ledger)s AND t.made_position = made.position AND t.version = %(version)s - 1;

-- name: columns
-- As they are read, in the order of those that are added.
t.ledger, t.id::text, t.kind, t.status, t.entries, t.reference, t.description, t.metadata, t.effective_at,
t.recorded_at, t.expires_at, t.idempotency_key, t.correlation_id, t.actor, t.settles::text, t.voids::text,
t.reverses::text, t.settled_by::text, t.voided_by::text, t.reversed_by::text[], t.rejection_code,
t.rejection_detail, t.made_version, t.made_position, t.reversed_amount, t.version, t.position;

-- name: add
COPY transactions_v:version (
    ledger, id, kind, status, entries, reference, description, metadata, effective_at, recorded_at, expires_at,
    idempotency_key, correlation_id, actor, settles, voids, reverses, settled_by, voided_by, reversed_by,
    rejection_code, rejection_detail, made_version, made_position, reversed_amount, version, position
) FROM STDIN;

-- name: add_accounts
COPY transaction_accounts_v:version (ledger, account, made_position) FROM STDIN;

-- name: add_metadata
COPY transaction_metadata_v:version (ledger, key, value, made_position) FROM STDIN;

-- name: find
-- By the key of the journal, which leads to the event that made the transaction: the first of its stream, or the second
-- after an acceptance. An index of ids here would be written at random by every transaction, for the few that change.
-- LATERAL with a LIMIT forces one descent of an index for each, statistics or not.
SELECT :columns
FROM unnest(%(ledgers)s::text[], %(streams)s::text[]) AS s(ledger, stream)
CROSS JOIN LATERAL (
    SELECT notification_id AS position FROM events
    WHERE originator_id = s.stream AND originator_version <= 2 LIMIT 2
) AS made
CROSS JOIN LATERAL (
    SELECT * FROM transactions_v:version WHERE ledger = s.ledger AND made_position = made.position LIMIT 1
) AS t;

-- name: change
-- Rows are found as above, and for the same reason, then changed where they lie.
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
-- Planned anew each time with its values, so that filters that are null vanish. Every join is one to one and in the
-- order of the list, so that whichever filter is the rarest can lead and the others be looked up; bounds of the
-- position are said of each table, since those of one are not derived for another.
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
-- The characters of an address all sort below `~`. The order is that of the index, so that it is read and no table.
SELECT made_position FROM transaction_accounts_v:version
WHERE ledger = %(ledger)s AND account >= %(prefix)s AND account < %(prefix)s || '~'
ORDER BY ledger, account, made_position LIMIT %(limit)s;

-- name: gather_dated
-- Whether there are few is counted, not estimated: what is dated is mostly dated back, which statistics do not know.
SELECT made_position FROM transactions_v:version WHERE ledger = %(ledger)s AND dated
AND (%(effective_from)s::timestamptz IS NULL OR effective_at >= %(effective_from)s)
AND (%(effective_to)s::timestamptz IS NULL OR effective_at < %(effective_to)s)
ORDER BY ledger, effective_at, made_position LIMIT %(limit)s;

-- name: first_since
-- The position from which on everything was recorded at or after a time, found by halving: recorded time never runs
-- against positions, so this takes some 25 steps down the key and needs no index of the time.
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
