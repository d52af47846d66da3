-- name: create_tables
-- `change` is the amount signed as the account's normal side sees it. `entry` counts from 1 within the transaction.
CREATE TABLE entries_v:version (
    ledger text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL,
    position bigint NOT NULL,
    entry int NOT NULL,
    transaction_id uuid NOT NULL,
    kind text NOT NULL,
    direction text NOT NULL,
    amount bigint NOT NULL,
    change bigint NOT NULL,
    balance_after bigint NOT NULL,
    effective_at timestamptz NOT NULL,
    reference text NOT NULL
);

-- name: create_indexes
-- Recorded time never runs against positions, so the first is the order of the recorded clock. Most entries take
-- effect when they are recorded and stand in the same order on both clocks: only the others need an index of their own.
CREATE UNIQUE INDEX IF NOT EXISTS entries_v:version_recorded
ON entries_v:version (ledger, account, recorded_at, position, entry);
CREATE INDEX IF NOT EXISTS entries_v:version_dated
ON entries_v:version (ledger, account, effective_at, position, entry) INCLUDE (change)
WHERE effective_at <> recorded_at;

-- name: drop_tables
DROP TABLE IF EXISTS entries_v:version;

-- name: add
COPY entries_v:version (
    ledger, account, recorded_at, position, entry, transaction_id, kind, direction, amount, change, balance_after,
    effective_at, reference
) FROM STDIN;

-- name: recorded
-- Planned anew each time with its values, so that bounds that are null vanish. The cost of a page does not depend on
-- how many entries the account has.
SELECT account, position, entry, transaction_id, kind, direction, amount, change, balance_after, effective_at,
    recorded_at, reference
FROM entries_v:version
WHERE ledger = %(ledger)s AND account = %(account)s
AND (%(since)s::timestamptz IS NULL OR recorded_at >= %(since)s)
AND (%(until)s::timestamptz IS NULL OR recorded_at < %(until)s)
AND (%(after_time)s::timestamptz IS NULL
    OR (recorded_at, position, entry) :beyond (%(after_time)s, %(after_position)s::bigint, %(after_entry)s::int))
ORDER BY recorded_at :order, position :order, entry :order LIMIT %(limit)s;

-- name: effective
-- Plain entries take effect when they are recorded, dated ones at another time. The page is merged from both. The
-- balance before its first row is that of the recorded clock at the last plain entry before it, less the dated entries
-- that were recorded by then, plus those that had taken effect before the row. So a page costs as much as the account
-- has dated entries, however many plain ones it has.
WITH page AS (
    (
        SELECT * FROM entries_v:version
        WHERE ledger = %(ledger)s AND account = %(account)s AND effective_at = recorded_at
        AND (%(since)s::timestamptz IS NULL OR recorded_at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR recorded_at < %(until)s)
        AND (%(after_time)s::timestamptz IS NULL OR (recorded_at, position, entry) :beyond
            (%(after_time)s, %(after_position)s::bigint, %(after_entry)s::int))
        ORDER BY recorded_at :order, position :order, entry :order LIMIT %(limit)s
    )
    UNION ALL
    (
        SELECT * FROM entries_v:version
        WHERE ledger = %(ledger)s AND account = %(account)s AND effective_at <> recorded_at
        AND (%(since)s::timestamptz IS NULL OR effective_at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR effective_at < %(until)s)
        AND (%(after_time)s::timestamptz IS NULL OR (effective_at, position, entry) :beyond
            (%(after_time)s, %(after_position)s::bigint, %(after_entry)s::int))
        ORDER BY effective_at :order, position :order, entry :order LIMIT %(limit)s
    )
    ORDER BY effective_at :order, position :order, entry :order LIMIT %(limit)s
),
first AS (
    SELECT effective_at, position, entry FROM page ORDER BY effective_at, position, entry LIMIT 1
),
plain AS (
    SELECT found.* FROM first CROSS JOIN LATERAL (
        SELECT e.position, e.entry, e.balance_after FROM entries_v:version AS e
        WHERE e.ledger = %(ledger)s AND e.account = %(account)s AND e.effective_at = e.recorded_at
        AND (e.recorded_at, e.position, e.entry) < (first.effective_at, first.position, first.entry)
        ORDER BY e.recorded_at DESC, e.position DESC, e.entry DESC LIMIT 1
    ) AS found
),
opening AS (
    SELECT coalesce((SELECT balance_after FROM plain), 0)
        - coalesce(sum(e.change) FILTER (WHERE (e.position, e.entry) <= (SELECT position, entry FROM plain)), 0)
        + coalesce(sum(e.change) FILTER (
            WHERE (e.effective_at, e.position, e.entry) < (SELECT effective_at, position, entry FROM first)
        ), 0) AS balance
    FROM entries_v:version AS e
    WHERE e.ledger = %(ledger)s AND e.account = %(account)s AND e.effective_at <> e.recorded_at
)
SELECT account, position, entry, transaction_id, kind, direction, amount, change,
    ((SELECT balance FROM opening) + sum(change) OVER (ORDER BY effective_at, position, entry))::bigint,
    effective_at, recorded_at, reference
FROM page ORDER BY effective_at :order, position :order, entry :order;
