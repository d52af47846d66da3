-- name: at_positions
SELECT originator_id, originator_version, topic, state, notification_id FROM events
WHERE notification_id = ANY(%(positions)s::bigint[]);
