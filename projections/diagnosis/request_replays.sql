-- name: add
-- Rows are written in the order of the key, so that two processes cannot deadlock.
INSERT INTO request_replays AS r (
    ledger, operation_id, actor, kind, count, first_at, last_at, last_correlation_id
)
SELECT * FROM unnest(
    %(ledgers)s::text[], %(operation_ids)s::uuid[], %(actors)s::text[], %(kinds)s::text[], %(counts)s::bigint[],
    %(first_at)s::timestamptz[], %(last_at)s::timestamptz[], %(correlation_ids)s::text[]
) AS seen (ledger, operation_id, actor, kind, count, first_at, last_at, last_correlation_id)
ORDER BY ledger, operation_id, actor, kind
ON CONFLICT (ledger, operation_id, actor, kind) DO UPDATE SET
    count = r.count + excluded.count,
    first_at = least(r.first_at, excluded.first_at),
    last_at = greatest(r.last_at, excluded.last_at),
    last_correlation_id = excluded.last_correlation_id;

-- name: of_operations
SELECT ledger, operation_id::text, actor, kind, count, first_at, last_at, last_correlation_id FROM request_replays
WHERE ledger = %(ledger)s AND operation_id = ANY(%(operation_ids)s::uuid[])
ORDER BY first_at, actor, kind;

-- name: in_conversation
SELECT DISTINCT operation_id::text FROM request_replays
WHERE ledger = %(ledger)s AND last_correlation_id = %(correlation_id)s LIMIT %(limit)s;
