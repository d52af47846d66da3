-- name: whole_cursors
-- All rows of a report are read, so plans that are fast to the first rows and slow to the last are unsuitable.
SET LOCAL cursor_tuple_fraction = 1;

-- name: trial_balance
-- Every account that had posted anything by the end, with its sums before the span and within it; or every group of
-- accounts whose addresses have the same first segments.
SELECT account, asset,
    coalesce(sum(change) FILTER (WHERE NOT within), 0)::text,
    coalesce(sum(amount) FILTER (WHERE within AND direction = 'debit'), 0)::text,
    coalesce(sum(amount) FILTER (WHERE within AND direction = 'credit'), 0)::text,
    sum(change)::text
FROM (
    SELECT CASE
            WHEN %(segments)s::int IS NULL THEN account
            ELSE array_to_string((string_to_array(account, ':'))[:%(segments)s::int], ':')
        END COLLATE "C" AS account,
        asset, direction, abs(change) AS amount,
        CASE direction WHEN 'credit' THEN abs(change) ELSE -abs(change) END AS change,
        %(since)s::timestamptz IS NULL OR :clock_at >= %(since)s AS within
    FROM entries_v:version
    WHERE ledger = %(ledger)s AND (%(until)s::timestamptz IS NULL OR :clock_at < %(until)s)
) AS entries
GROUP BY account, asset ORDER BY account, asset;

-- name: journal
SELECT to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    to_char(effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    position, transaction_id::text, kind, reference, account, asset, direction, abs(change)
FROM entries_v:version
WHERE ledger = %(ledger)s AND (%(since)s::timestamptz IS NULL OR :clock_at >= %(since)s)
AND (%(until)s::timestamptz IS NULL OR :clock_at < %(until)s) :mentioned
ORDER BY :clock_at, position, entry;

-- name: mentioned_account
-- All entries of a transaction have the same position and the same times.
AND position IN (
    SELECT position FROM entries_v:version WHERE ledger = %(ledger)s AND account = %(account)s
)

-- name: mentioned_prefix
-- The characters of an address all sort below `~`, so a prefix is a range of the index.
AND position IN (
    SELECT position FROM entries_v:version
    WHERE ledger = %(ledger)s AND account >= %(prefix)s AND account < %(prefix)s || '~'
)

-- name: said
SELECT notification_id, state FROM events WHERE notification_id = ANY(%(positions)s::bigint[]);

-- name: activity
-- Days are in UTC. A transaction counts once for each asset that it moves.
SELECT (:clock_at AT TIME ZONE 'UTC')::date::text AS day, kind, asset, count(DISTINCT transaction_id)::text, count(*)::text,
    coalesce(sum(abs(change)) FILTER (WHERE direction = 'debit'), 0)::text
FROM entries_v:version
WHERE ledger = %(ledger)s AND (%(since)s::timestamptz IS NULL OR :clock_at >= %(since)s)
AND (%(until)s::timestamptz IS NULL OR :clock_at < %(until)s)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- name: statement
-- The whole account is read, because balances are computed in the clock's order and not taken from `balance_after`.
SELECT to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), position::text, transaction_id::text, kind,
    reference, asset, direction, amount::text, balance::text
FROM (
    SELECT :clock_at AS time, position, entry, transaction_id, kind, reference, asset, direction, abs(change) AS amount,
        sum(change) OVER (ORDER BY :clock_at, position, entry) AS balance
    FROM entries_v:version
    WHERE ledger = %(ledger)s AND account = %(account)s
    AND (%(until)s::timestamptz IS NULL OR :clock_at < %(until)s)
) AS entries
WHERE %(since)s::timestamptz IS NULL OR time >= %(since)s
ORDER BY entries.time, entries.position, entries.entry;
