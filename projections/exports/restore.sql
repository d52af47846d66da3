-- name: lock_head
-- Whoever holds this row is the writer: a service that runs already waits, and then goes on from what was imported.
SELECT position FROM head FOR UPDATE;

-- name: has_events
SELECT EXISTS (SELECT FROM events);

-- name: copy
COPY events (originator_id, originator_version, topic, state, notification_id) FROM STDIN (FORMAT BINARY);

-- name: move_head
WITH moved AS (UPDATE head SET position = %(position)s, recorded_at = %(recorded_at)s)
SELECT pg_notify(%(channel)s, %(position)s::text);
