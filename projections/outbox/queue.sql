-- name: session
-- Every query here takes a few rows by key from tables that grow fast. A plan made while they were small would read all
-- of them until they are analyzed.
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;

-- name: lock
-- Only one session at a time decides which delivery is the next of its key: the projection, which adds deliveries
-- (outbox.sql), or this queue, which finishes them.
SELECT pg_advisory_xact_lock(hashtextextended('outbox ' || current_schema(), 0));

-- name: interrupted
-- Attempts that a former publisher did not live to finish. They may have arrived, and are repeated at once.
WITH found AS (
    UPDATE deliveries SET state = 'pending', due_at = clock_timestamp(), is_in_doubt = true WHERE state = 'sent'
), ended AS (
    UPDATE delivery_attempts SET outcome = 'failed', ended_at = clock_timestamp(), reason = %(reason)s
    WHERE outcome = 'sent' RETURNING 1
)
UPDATE delivery_outcomes SET attempts = attempts + (SELECT count(*) FROM ended) WHERE outcome = 'failed';

-- name: claim
-- Each webhook gets at most as many attempts at once as it has room for. The first of each webhook come before the
-- second of each, and so on, so webhooks do not starve one another. LATERAL reads only that many rows of each. Only the
-- holder of the publisher's place claims. The event is returned with the position at which it is shown.
WITH receivers AS (
    SELECT w.id, w.url, greatest(
        0, CASE WHEN w.failing_since IS NULL THEN %(room)s ELSE %(failing_room)s END - coalesce(busy.count, 0)
    ) AS room
    FROM webhooks AS w
    LEFT JOIN unnest(%(busy)s::uuid[], %(counts)s::int[]) AS busy (id, count) ON busy.id = w.id
    WHERE w.state = 'enabled' AND NOT EXISTS (
        SELECT FROM projection_versions WHERE name = 'outbox' AND state = 'paused'
    )
), due AS (
    SELECT found.* FROM receivers AS r CROSS JOIN LATERAL (
        SELECT d.webhook_id, d.position, row_number() OVER (ORDER BY d.due_at, d.position) AS nth
        FROM deliveries AS d WHERE d.webhook_id = r.id AND d.due_at <= clock_timestamp()
        ORDER BY d.due_at, d.position LIMIT r.room
    ) AS found
    ORDER BY nth, position LIMIT %(limit)s
), claimed AS (
    UPDATE deliveries AS d SET state = 'sent', due_at = NULL, attempts = d.attempts + 1
    FROM due WHERE d.webhook_id = due.webhook_id AND d.position = due.position
    -- repeated for the row itself, since an operator may have given it up meanwhile
    AND d.state = 'pending' AND d.due_at IS NOT NULL
    RETURNING d.webhook_id, d.position, d.attempts, d.failures, d.is_in_doubt
), begun AS (
    INSERT INTO delivery_attempts (webhook_id, position, number, outcome, is_duplicate)
    SELECT webhook_id, position, attempts, 'sent', is_in_doubt FROM claimed
)
SELECT
    c.webhook_id, c.position, c.attempts, c.failures, r.url,
    (
        SELECT array_agg(s.secret ORDER BY s.created_at DESC) FROM webhook_secrets AS s
        WHERE s.webhook_id = c.webhook_id AND (s.valid_until IS NULL OR s.valid_until > clock_timestamp())
    ),
    e.originator_id, e.originator_version, e.topic, e.state,
    coalesce((
        SELECT r.shown + c.position - r.position FROM position_ranges AS r
        WHERE r.ledger = split_part(e.originator_id, '/', 1) AND r.position <= c.position ORDER BY r.position DESC LIMIT 1
    ), c.position)
FROM claimed AS c
JOIN receivers AS r ON r.id = c.webhook_id
JOIN events AS e ON e.notification_id = c.position
ORDER BY c.position;

-- name: ended
-- An acknowledgement always counts, even if the delivery was given up meanwhile. A failure does not count if it was, or
-- if an operator has had it sent again since.
WITH ended AS (
    SELECT * FROM unnest(
        %(webhooks)s::uuid[], %(positions)s::bigint[], %(numbers)s::int[], %(outcomes)s::text[], %(statuses)s::int[],
        %(reasons)s::text[], %(doubts)s::boolean[], %(waits)s::double precision[]
    ) AS e (webhook_id, position, number, outcome, status_code, reason, is_in_doubt, wait_seconds)
), attempted AS (
    UPDATE delivery_attempts AS a
    SET outcome = e.outcome, ended_at = clock_timestamp(), status_code = e.status_code, reason = e.reason
    FROM ended AS e WHERE a.webhook_id = e.webhook_id AND a.position = e.position AND a.number = e.number
), counted AS (
    UPDATE delivery_outcomes AS o SET attempts = o.attempts + new.attempts
    FROM (SELECT outcome, count(*) AS attempts FROM ended GROUP BY outcome) AS new WHERE o.outcome = new.outcome
)
UPDATE deliveries AS d SET
    state = CASE
        WHEN e.outcome = 'acknowledged' THEN 'acknowledged'
        WHEN e.wait_seconds IS NULL THEN 'failed'
        ELSE 'pending'
    END,
    due_at = CASE
        WHEN e.outcome <> 'acknowledged' THEN clock_timestamp() + make_interval(secs => e.wait_seconds)
    END,
    failures = CASE WHEN e.outcome = 'acknowledged' THEN d.failures ELSE d.failures + 1 END,
    is_in_doubt = d.is_in_doubt OR e.is_in_doubt,
    reason = e.reason
FROM ended AS e
WHERE d.webhook_id = e.webhook_id AND d.position = e.position
AND (e.outcome = 'acknowledged' OR d.state = 'sent' AND d.attempts = e.number);

-- name: promote
-- The first unfinished delivery of each key that had one finished, unless it is under way or already has its time.
-- MATERIALIZED, or all waiting deliveries of the webhook would be joined (measured: a second for 16 keys and 9,000
-- waiting).
WITH key AS (
    SELECT DISTINCT done.webhook_id, done.partition_key
    FROM unnest(%(webhooks)s::uuid[], %(positions)s::bigint[]) AS e (webhook_id, position)
    JOIN deliveries AS done ON done.webhook_id = e.webhook_id AND done.position = e.position
    WHERE done.state NOT IN ('pending', 'sent', 'failed')
), next AS MATERIALIZED (
    SELECT k.webhook_id, first.* FROM key AS k CROSS JOIN LATERAL (
        SELECT position, state, due_at FROM deliveries
        WHERE webhook_id = k.webhook_id AND partition_key = k.partition_key AND state IN ('pending', 'sent', 'failed')
        ORDER BY position LIMIT 1
    ) AS first
)
UPDATE deliveries AS d SET due_at = clock_timestamp()
FROM next
WHERE d.webhook_id = next.webhook_id AND d.position = next.position AND next.state = 'pending' AND next.due_at IS NULL;

-- name: well
-- A receiver that is back after a long time gets everything that waits at once. After a short time it does not, or the
-- next event's success would cancel the wait after one event's failure.
WITH well AS (
    SELECT id, failing_since FROM webhooks WHERE id = ANY(%(webhooks)s) AND failing_since IS NOT NULL
    ORDER BY id FOR NO KEY UPDATE
), updated AS (
    UPDATE webhooks AS w SET failing_since = NULL FROM well WHERE w.id = well.id
), put_forward AS (
    UPDATE deliveries AS d SET due_at = clock_timestamp()
    FROM well
    WHERE well.failing_since < clock_timestamp() - make_interval(secs => %(long_seconds)s)
    AND d.webhook_id = well.id AND d.due_at > clock_timestamp()
)
SELECT id, extract(epoch FROM clock_timestamp() - failing_since)::double precision FROM well;

-- name: failing
UPDATE webhooks SET failing_since = clock_timestamp() WHERE id = ANY(%(webhooks)s) AND failing_since IS NULL
RETURNING id;

-- name: gone
UPDATE webhooks SET state = 'disabled', disabled_reason = %(reason)s
WHERE id = ANY(%(webhooks)s) AND state = 'enabled'
RETURNING id;

-- name: given_up
UPDATE webhooks SET state = 'disabled', disabled_reason = %(reason)s
WHERE id = ANY(%(webhooks)s) AND state = 'enabled'
AND failing_since < clock_timestamp() - make_interval(secs => %(disable_after_seconds)s)
RETURNING id;
