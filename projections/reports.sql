-- name: trial_balance
-- Every account that had posted anything by then, what it had posted before the span and within it.
SELECT account, asset,
    coalesce(sum(change) FILTER (WHERE NOT within), 0)::text,
    coalesce(sum(amount) FILTER (WHERE within AND direction = 'debit'), 0)::text,
    coalesce(sum(amount) FILTER (WHERE within AND direction = 'credit'), 0)::text,
    sum(change)::text
FROM (
    SELECT account, asset, direction, abs(change) AS amount,
        CASE direction WHEN 'credit' THEN abs(change) ELSE -abs(change) END AS change,
        %(since)s::timestamptz IS NULL OR :clock_at >= %(since)s AS within
    FROM entries_v:version
    WHERE ledger = %(ledger)s AND (%(until)s::timestamptz IS NULL OR :clock_at < %(until)s)
) AS entries
GROUP BY account, asset ORDER BY account, asset;

-- name: activity
-- Days of UTC. A transaction counts once for each asset that it moves.
SELECT (:clock_at AT TIME ZONE 'UTC')::date::text AS day, kind, asset, count(DISTINCT transaction_id)::text, count(*)::text,
    coalesce(sum(abs(change)) FILTER (WHERE direction = 'debit'), 0)::text
FROM entries_v:version
WHERE ledger = %(ledger)s AND (%(since)s::timestamptz IS NULL OR :clock_at >= %(since)s)
AND (%(until)s::timestamptz IS NULL OR :clock_at < %(until)s)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- name: statement
-- The whole account is read: balances are counted in the order of the clock, and not those that were kept.
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
