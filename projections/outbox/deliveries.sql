-- name: lock
-- The same lock as in queue.sql.
SELECT pg_advisory_xact_lock(hashtextextended('outbox ' || current_schema(), 0));

-- name: columns
-- Also where the event is shown.
d.webhook_id, d.position, coalesce((
    SELECT r.shown + d.position - r.position FROM position_ranges AS r
    WHERE r.ledger = split_part(e.originator_id, '/', 1) AND r.position <= d.position ORDER BY r.position DESC LIMIT 1
), d.position), e.originator_id, e.topic, d.correlation_id, d.state, d.reason, d.due_at, (
    SELECT coalesce(json_agg(json_build_object(
        'number', a.number, 'outcome', a.outcome, 'duplicated', a.is_duplicate, 'sent_at', a.sent_at,
        'ended_at', a.ended_at, 'duration_seconds', extract(epoch FROM a.ended_at - a.sent_at)::double precision,
        'status_code', a.status_code, 'reason', a.reason
    ) ORDER BY a.number), '[]'::json)
    FROM delivery_attempts AS a WHERE a.webhook_id = d.webhook_id AND a.position = d.position
)

-- name: find
SELECT :columns FROM deliveries AS d JOIN events AS e ON e.notification_id = d.position
WHERE d.webhook_id = %(webhook_id)s AND d.position = %(position)s;

-- name: list
SELECT :columns FROM deliveries AS d JOIN events AS e ON e.notification_id = d.position
WHERE d.webhook_id = %(webhook_id)s
AND (%(after)s::bigint IS NULL OR d.position :beyond %(after)s::bigint)
ORDER BY d.position :order LIMIT %(limit)s;

-- name: list_in_state
-- Apart from `list`, since a plan made once for every state would read past all acknowledged deliveries.
SELECT :columns FROM deliveries AS d JOIN events AS e ON e.notification_id = d.position
WHERE d.webhook_id = %(webhook_id)s AND d.state = :state
AND (%(after)s::bigint IS NULL OR d.position :beyond %(after)s::bigint)
ORDER BY d.position :order LIMIT %(limit)s;

-- name: at_positions
-- Webhooks are few, so this looks up each webhook with each position by the primary key. Without LATERAL, it would read
-- every delivery ever made.
SELECT :columns FROM (
    SELECT found.* FROM unnest(%(positions)s::bigint[]) AS wanted (position) CROSS JOIN webhooks AS w
    CROSS JOIN LATERAL (
        SELECT * FROM deliveries WHERE webhook_id = w.id AND position = wanted.position LIMIT 1
    ) AS found
) AS d JOIN events AS e ON e.notification_id = d.position
ORDER BY d.position, d.webhook_id;

-- name: retry
-- A delivery that is under way is left alone. So is one that waits behind another of its key, to keep the order.
UPDATE deliveries SET
    state = 'pending', due_at = clock_timestamp(), failures = 0, reason = NULL,
    is_in_doubt = is_in_doubt OR state = 'acknowledged'
WHERE webhook_id = %(webhook_id)s AND position = %(position)s
AND (state IN ('acknowledged', 'failed', 'suppressed') OR state = 'pending' AND due_at IS NOT NULL);

-- name: discard
WITH discarded AS (
    UPDATE deliveries SET state = 'suppressed', due_at = NULL, reason = %(reason)s, attempts = attempts + 1
    WHERE webhook_id = %(webhook_id)s AND position = %(position)s AND state IN ('pending', 'sent', 'failed')
    RETURNING webhook_id, position, attempts
)
INSERT INTO delivery_attempts (webhook_id, position, number, outcome, is_duplicate, ended_at, reason)
SELECT webhook_id, position, attempts, 'suppressed', false, clock_timestamp(), %(reason)s FROM discarded;

-- name: announce
SELECT pg_notify(current_schema() || '_outbox', '');
