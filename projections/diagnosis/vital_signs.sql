-- name: deliveries
-- The oldest unmade delivery of each webhook: the index by state leads straight to it, however many wait behind it.
-- What is overdue is told of no webhook that fails: there, few attempts are made at once, and the others wait for them.
SELECT
    count(*) FILTER (WHERE w.state = 'enabled'),
    count(*) FILTER (WHERE w.state = 'disabled'),
    coalesce(extract(epoch FROM clock_timestamp() - min(w.failing_since) FILTER (WHERE w.state = 'enabled')), 0)
        ::double precision,
    greatest(0, coalesce(extract(epoch FROM clock_timestamp() - min(oldest.recorded_at)), 0))::double precision,
    greatest(0, coalesce(extract(epoch FROM clock_timestamp() - min(attempt.since)), 0))::double precision
FROM webhooks AS w
LEFT JOIN LATERAL (
    SELECT coalesce((decoded(e.state) ->> 'recorded_at')::timestamptz, w.created_at) AS recorded_at
    FROM unnest(ARRAY['pending', 'sent']) AS wanted (state)
    CROSS JOIN LATERAL (
        SELECT position FROM deliveries WHERE state = wanted.state AND webhook_id = w.id
        AND state <> 'acknowledged' ORDER BY position LIMIT 1
    ) AS first
    JOIN events AS e ON e.notification_id = first.position
    ORDER BY first.position LIMIT 1
) AS oldest ON w.state = 'enabled'
LEFT JOIN LATERAL (
    SELECT least(
        (SELECT min(due_at) FROM deliveries WHERE webhook_id = w.id AND due_at IS NOT NULL),
        (SELECT min(sent_at) FROM delivery_attempts WHERE webhook_id = w.id AND outcome = 'sent')
    ) AS since
) AS attempt ON w.state = 'enabled' AND w.failing_since IS NULL
WHERE w.state <> 'deleted';

-- name: attempts
SELECT outcome, attempts FROM delivery_outcomes ORDER BY outcome;

-- name: checkpoint
-- Without an event after the checkpoint, nothing is unsigned, however old the checkpoint is.
SELECT extract(epoch FROM clock_timestamp() - newest.signed_at)::double precision,
    greatest(0, coalesce(
        extract(epoch FROM clock_timestamp()
            - coalesce(copied_at(next.notification_id), decoded(next.state) ->> 'recorded_at')::timestamptz), 0
    ))::double precision
FROM (VALUES (1)) AS one
LEFT JOIN (SELECT size, signed_at FROM checkpoints ORDER BY number DESC LIMIT 1) AS newest ON true
LEFT JOIN events AS next ON next.notification_id = coalesce(newest.size, 0) + 1;

-- name: witnessed
-- The newest event of a log's stream says whether it is in dispute.
SELECT l.name,
    greatest(0, extract(epoch FROM clock_timestamp() - coalesce(l.seen_at, l.added_at)))::double precision,
    coalesce(newest.topic = 'checkpoint.disputed', false)
FROM witnessed_logs AS l
LEFT JOIN LATERAL (
    SELECT topic FROM events WHERE in_stream(originator_id, '-/witnesses/' || l.name)
    ORDER BY originator_version DESC LIMIT 1
) AS newest ON true
WHERE l.is_watched OR newest.topic = 'checkpoint.disputed' ORDER BY l.name;
