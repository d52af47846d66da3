-- name: of_streams
-- LATERAL makes each stream one descent of the index, whatever the planner knows of the table.
SELECT found.* FROM unnest(%(streams)s::text[]) AS wanted (stream)
CROSS JOIN LATERAL (
    SELECT originator_id, originator_version, topic, state, notification_id FROM events
    WHERE in_stream(originator_id, wanted.stream) ORDER BY originator_version LIMIT %(limit)s
) AS found;

-- name: at_positions
SELECT found.* FROM unnest(%(positions)s::bigint[]) AS wanted (position)
CROSS JOIN LATERAL (
    SELECT originator_id, originator_version, topic, state, notification_id FROM events
    WHERE notification_id = wanted.position LIMIT 1
) AS found;

-- name: advanced
-- When each live version reached its present position. It had everything up to there by then.
SELECT name, version, advanced_at FROM projection_versions WHERE live;

-- name: suppressed
-- The events for a webhook that a rebuild met again and did not send again.
SELECT webhook_id, version, first_position, last_position, last_at FROM outbox_suppressions
WHERE webhook_id = ANY(%(webhooks)s::uuid[]) AND last_position >= %(first)s AND first_position <= %(last)s
ORDER BY last_at;
