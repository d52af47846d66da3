-- name: create_tables
-- `change` is the amount, signed as the account's normal side sees it. `entry` counts from 1 within the transaction.
CREATE TABLE entries_v:version (
    ledger text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL,
    position bigint NOT NULL,
    entry int NOT NULL,
    transaction_id uuid NOT NULL,
    kind text NOT NULL,
    asset text COLLATE "C" NOT NULL,
    direction text NOT NULL,
    change bigint NOT NULL,
    balance_after bigint NOT NULL,
    debits_after bigint,  -- null in entries recorded by an older release that did not store it
    effective_at timestamptz NOT NULL,
    reference text NOT NULL
);
-- Statistics of columns by which nobody searches or groups would take half the time of ANALYZE.
ALTER TABLE entries_v:version
    ALTER COLUMN entry SET STATISTICS 0,
    ALTER COLUMN transaction_id SET STATISTICS 0,
    ALTER COLUMN kind SET STATISTICS 0,
    ALTER COLUMN direction SET STATISTICS 0,
    ALTER COLUMN change SET STATISTICS 0,
    ALTER COLUMN balance_after SET STATISTICS 0,
    ALTER COLUMN debits_after SET STATISTICS 0,
    ALTER COLUMN reference SET STATISTICS 0;

-- Sums of entries over spans of time. A span excludes its beginning and includes its end `until`. Many entries take
-- effect at midnight; this way they end a day, and sums up to midnight need only days. The rows of account '' are sums
-- of the whole ledger: of plain entries, which have only one time, under clock 'both', and of dated entries under
-- either clock. Rows of an account sum only its dated entries, by the day; for plain entries balance_after is enough.
CREATE TABLE turnovers_v:version (
    ledger text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    clock text NOT NULL,
    span text NOT NULL,
    until timestamptz NOT NULL,
    asset text COLLATE "C" NOT NULL,
    debits numeric NOT NULL,
    credits numeric NOT NULL,
    PRIMARY KEY (ledger, account, clock, span, until, asset)
) WITH (fillfactor = 70);  -- the current spans change with every batch, so leave room for HOT updates

-- name: create_indexes
-- Most entries are plain: they take effect when they are recorded and have the same order by both clocks, so one index
-- holds them. Dated entries are in two indexes, one for each clock, with all that their sums need. Recorded time never
-- runs against positions. Each plain entry costs one insertion, each dated entry three, and a search for entries of one
-- sort never reads through those of the other.
CREATE UNIQUE INDEX IF NOT EXISTS entries_v:version_plain
ON entries_v:version (ledger, account, recorded_at, position, entry)
WHERE effective_at = recorded_at;
CREATE UNIQUE INDEX IF NOT EXISTS entries_v:version_dated_recorded
ON entries_v:version (ledger, account, recorded_at, position, entry) INCLUDE (change, direction)
WHERE effective_at <> recorded_at;
CREATE UNIQUE INDEX IF NOT EXISTS entries_v:version_dated_effective
ON entries_v:version (ledger, account, effective_at, position, entry) INCLUDE (change, direction)
WHERE effective_at <> recorded_at;
-- For sums over a part of a minute in a ledger. Rows lie in the order in which they were recorded, so the first of
-- these indexes costs next to nothing.
CREATE INDEX IF NOT EXISTS entries_v:version_moment
ON entries_v:version USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX IF NOT EXISTS entries_v:version_dated_moment
ON entries_v:version (ledger, effective_at) WHERE effective_at <> recorded_at;

-- name: add
COPY entries_v:version (
    ledger, account, recorded_at, position, entry, transaction_id, kind, asset, direction, change, balance_after,
    debits_after, effective_at, reference
) FROM STDIN;

-- name: turn_over
-- The parameters are sums by the minute, named by the minute's beginning. Entries exactly on the minute belong to the
-- minute that ends there. A span that ends together with a longer one is never read, so it is not kept: entries dated
-- at midnight, of which there can be many, change only one row of the ledger. Spans are counted from a midnight before
-- all times, which takes a tenth of the time of date_trunc. Rows are written in the order of the key, so that batches
-- written at once wait for one another in that order and cannot deadlock.
INSERT INTO turnovers_v:version AS t (ledger, account, clock, span, until, asset, debits, credits)
SELECT n.ledger, n.account, n.clock, s.span, s.until, n.asset, sum(n.debits), sum(n.credits)
FROM unnest(
    %(ledgers)b::text[], %(accounts)b::text[], %(assets)b::text[], %(clocks)b::text[], %(minutes)b::text[],
    %(on_the_minute)b::text[]::bool[], %(debits)b::text[]::numeric[], %(credits)b::text[]::numeric[]
) AS n(ledger, account, asset, clock, minute, on_the_minute, debits, credits)
CROSS JOIN LATERAL (
    SELECT n.minute::timestamptz + CASE WHEN n.on_the_minute THEN '0' ELSE '1 minute' END::interval AS minute,
        timestamptz '0001-01-01 00:00Z BC' AS origin
    OFFSET 0
) AS m
CROSS JOIN LATERAL (VALUES
    ('minute', interval '1 hour', m.minute),
    ('hour', '24 hours', date_bin('1 hour', m.minute - interval '1 microsecond', m.origin) + interval '1 hour'),
    ('day', NULL, date_bin('24 hours', m.minute - interval '1 microsecond', m.origin) + interval '24 hours')
) AS s(span, longer, until)
WHERE s.span = 'day' OR n.account = '' AND s.until <> date_bin(s.longer, s.until, m.origin)
GROUP BY n.ledger, n.account, n.clock, s.span, s.until, n.asset
ORDER BY n.ledger, n.account, n.clock, s.span, s.until, n.asset
ON CONFLICT (ledger, account, clock, span, until, asset) DO UPDATE SET
    debits = t.debits + excluded.debits, credits = t.credits + excluded.credits;

-- name: statement
-- Planned each time with its values, so that null bounds vanish. By either clock, the cost of a page does not depend on
-- how many entries the account has, plain or dated.
SELECT account, position, entry, transaction_id, kind, direction, abs(change), change, balance_after, effective_at,
    recorded_at, reference
FROM (
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
        AND (%(since)s::timestamptz IS NULL OR :clock_at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR :clock_at < %(until)s)
        AND (%(after_time)s::timestamptz IS NULL OR (:clock_at, position, entry) :beyond
            (%(after_time)s, %(after_position)s::bigint, %(after_entry)s::int))
        ORDER BY :clock_at :order, position :order, entry :order LIMIT %(limit)s
    )
) AS page
ORDER BY :clock_at :order, position :order, entry :order LIMIT %(limit)s;

-- name: now
-- Not earlier than the newest recorded time, in case the clocks of two machines differ.
SELECT greatest(now(), recorded_at::timestamptz) FROM head;

-- name: posted_recorded
-- What the account had posted before a place in the order of the recorded clock. The last entry before the place states
-- it. Only if an older release recorded that entry are all debits summed.
WITH last AS (
    (
        SELECT * FROM entries_v:version
        WHERE ledger = %(ledger)s AND account = %(account)s AND effective_at = recorded_at
        AND (recorded_at, position, entry) < (%(time)s, %(position)s::bigint, %(entry)s::int)
        ORDER BY recorded_at DESC, position DESC, entry DESC LIMIT 1
    )
    UNION ALL
    (
        SELECT * FROM entries_v:version
        WHERE ledger = %(ledger)s AND account = %(account)s AND effective_at <> recorded_at
        AND (recorded_at, position, entry) < (%(time)s, %(position)s::bigint, %(entry)s::int)
        ORDER BY recorded_at DESC, position DESC, entry DESC LIMIT 1
    )
    ORDER BY position DESC, entry DESC LIMIT 1
)
SELECT debits, debits + CASE WHEN (direction = 'credit') = (change > 0) THEN balance_after ELSE -balance_after END
FROM (
    SELECT direction, change, balance_after, coalesce(debits_after, (
        SELECT sum(abs(e.change)) FILTER (WHERE e.direction = 'debit') FROM (
            SELECT change, direction FROM entries_v:version
            WHERE ledger = %(ledger)s AND account = %(account)s AND effective_at = recorded_at
            AND (recorded_at, position, entry) < (%(time)s, %(position)s::bigint, %(entry)s::int)
            UNION ALL
            SELECT change, direction FROM entries_v:version
            WHERE ledger = %(ledger)s AND account = %(account)s AND effective_at <> recorded_at
            AND (recorded_at, position, entry) < (%(time)s, %(position)s::bigint, %(entry)s::int)
        ) AS e
    ), 0)::bigint AS debits
    FROM last
) AS posted;

-- name: posted_effective
-- What the account had posted before a place in the order of the effective clock: the sums stated by the last plain
-- entry before it, minus the dated entries recorded before that entry, plus the dated entries that had taken effect
-- before the place. Whole days of dated entries come from the turnovers; only the rest of one day comes from the
-- entries themselves. A day that ends at the place's time is whole only for a place after all entries of that time. If
-- an older release recorded the last plain entry, the plain entries are summed instead.
WITH last AS (
    SELECT *, date_trunc('day', recorded_at - interval '1 microsecond', 'UTC') AS midnight
    FROM entries_v:version
    WHERE ledger = %(ledger)s AND account = %(account)s AND effective_at = recorded_at
    AND (recorded_at, position, entry) < (%(time)s, %(position)s::bigint, %(entry)s::int)
    ORDER BY recorded_at DESC, position DESC, entry DESC LIMIT 1
),
plain AS (
    SELECT * FROM last WHERE debits_after IS NOT NULL
),
place AS (
    SELECT date_trunc('day', %(time)s::timestamptz - CASE
        WHEN %(position)s::bigint = 9223372036854775807 THEN '0' ELSE '1 microsecond'
    END::interval, 'UTC') AS midnight
),
dated AS (
    SELECT -debits AS debits, -credits AS credits FROM turnovers_v:version
    WHERE ledger = %(ledger)s AND account = %(account)s AND clock = 'recorded' AND span = 'day'
    AND until <= (SELECT midnight FROM plain)
    UNION ALL
    SELECT CASE direction WHEN 'debit' THEN -abs(change) ELSE 0 END,
        CASE direction WHEN 'credit' THEN -abs(change) ELSE 0 END
    FROM entries_v:version
    WHERE ledger = %(ledger)s AND account = %(account)s AND effective_at <> recorded_at
    AND recorded_at > (SELECT midnight FROM plain)
    AND (recorded_at, position, entry) < ((SELECT recorded_at FROM plain), (SELECT position FROM plain),
        (SELECT entry FROM plain))
    UNION ALL
    SELECT debits, credits FROM turnovers_v:version
    WHERE ledger = %(ledger)s AND account = %(account)s AND clock = 'effective' AND span = 'day'
    AND until <= (SELECT midnight FROM place)
    UNION ALL
    SELECT CASE direction WHEN 'debit' THEN abs(change) ELSE 0 END,
        CASE direction WHEN 'credit' THEN abs(change) ELSE 0 END
    FROM entries_v:version
    WHERE ledger = %(ledger)s AND account = %(account)s AND effective_at <> recorded_at
    AND effective_at > (SELECT midnight FROM place)
    AND (effective_at, position, entry) < (%(time)s, %(position)s::bigint, %(entry)s::int)
),
posted AS (
    SELECT debits_after AS debits,
        debits_after + CASE WHEN (direction = 'credit') = (change > 0) THEN balance_after ELSE -balance_after END
        AS credits
    FROM plain
    UNION ALL
    SELECT CASE direction WHEN 'debit' THEN abs(change) ELSE 0 END,
        CASE direction WHEN 'credit' THEN abs(change) ELSE 0 END
    FROM entries_v:version
    WHERE ledger = %(ledger)s AND account = %(account)s AND effective_at = recorded_at
    AND (recorded_at, position, entry) < (%(time)s, %(position)s::bigint, %(entry)s::int)
    AND NOT EXISTS (SELECT FROM plain)
    UNION ALL
    SELECT debits, credits FROM dated
)
SELECT sum(debits)::bigint, sum(credits)::bigint FROM posted;

-- name: trial_balance
-- Whole days, then the hours after them, then the minutes after those, and for the last minute the entries themselves:
-- by the effective clock, the plain entries recorded in it and the dated ones that took effect in it. The entries
-- recorded in the minute are found in a separate step, so that only their place in the table can lead to them.
-- Otherwise the planner prefers to skip through the index of plain entries, one account after another.
WITH spans(span, since) AS (VALUES
    ('day', '-infinity'::timestamptz),
    ('hour', date_trunc('day', %(at)s::timestamptz, 'UTC')),
    ('minute', date_trunc('hour', %(at)s::timestamptz, 'UTC'))
),
recorded AS MATERIALIZED (
    SELECT ledger, asset, direction, change, effective_at = recorded_at AS is_plain FROM entries_v:version
    WHERE recorded_at > date_trunc('minute', %(at)s::timestamptz, 'UTC') AND recorded_at <= %(at)s::timestamptz
),
posted AS (
    SELECT t.asset, t.debits, t.credits
    FROM spans AS s CROSS JOIN unnest(ARRAY['both', %(clock)s]) AS c(clock)
    CROSS JOIN LATERAL (
        SELECT asset, sum(debits) AS debits, sum(credits) AS credits FROM turnovers_v:version
        WHERE ledger = %(ledger)s AND account = '' AND clock = c.clock AND span = s.span
        AND until > s.since AND until <= %(at)s::timestamptz
        GROUP BY asset
    ) AS t
    UNION ALL
    SELECT asset, CASE direction WHEN 'debit' THEN abs(change) ELSE 0 END,
        CASE direction WHEN 'credit' THEN abs(change) ELSE 0 END
    FROM recorded WHERE ledger = %(ledger)s AND (is_plain OR %(clock)s = 'recorded')
    UNION ALL
    SELECT asset, CASE direction WHEN 'debit' THEN abs(change) ELSE 0 END,
        CASE direction WHEN 'credit' THEN abs(change) ELSE 0 END
    FROM entries_v:version
    WHERE %(clock)s = 'effective' AND ledger = %(ledger)s AND effective_at <> recorded_at
    AND effective_at > date_trunc('minute', %(at)s::timestamptz, 'UTC') AND effective_at <= %(at)s::timestamptz
)
SELECT asset, sum(debits)::text, sum(credits)::text FROM posted GROUP BY asset ORDER BY asset;
