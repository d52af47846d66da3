-- name: register
-- Listed with the projections, since it follows the journal like them. It has no tables, so it cannot be rebuilt.
WITH registered AS (
    INSERT INTO projections (name, live_version) VALUES ('nats', 1) ON CONFLICT DO NOTHING
)
INSERT INTO projection_versions (name, version, live) SELECT 'nats', 1, true
WHERE NOT EXISTS (SELECT FROM projection_versions WHERE name = 'nats');

-- name: standing
SELECT v.position, v.state, head.position FROM projection_versions AS v CROSS JOIN head
WHERE v.name = 'nats' AND v.version = 1;

-- name: event
SELECT originator_id, state FROM events WHERE notification_id = %(position)s;

-- name: window
-- The events after a position, as they are stored, up to the one with which they reach `most_bytes` so. The length of a state is known without
-- reading it.
SELECT originator_id, originator_version, topic, state, notification_id, shares, base FROM (
    SELECT originator_id, originator_version, topic, state, notification_id, shares, base,
        sum(octet_length(state)) OVER (ORDER BY notification_id ROWS UNBOUNDED PRECEDING) - octet_length(state) AS before
    FROM abbreviated_events WHERE notification_id > %(after)s AND notification_id <= %(upto)s
) AS event
WHERE before < %(most_bytes)s ORDER BY notification_id;

-- name: copies
-- The positions of a range that hold copies.
SELECT generate_series(greatest(first, %(after)s + 1), least(last, %(upto)s)) FROM copied_events
WHERE first <= %(upto)s AND last > %(after)s;

-- name: shown
-- Where the events of a range are shown whose ledgers have moved. Without a move the journal is not read.
SELECT e.notification_id, r.shown + e.notification_id - r.position FROM stored_events AS e CROSS JOIN LATERAL (
    SELECT shown, position FROM position_ranges
    WHERE ledger = split_part(e.originator_id, '/', 1) AND position <= e.notification_id
    ORDER BY position DESC LIMIT 1
) AS r
WHERE e.notification_id > %(after)s AND e.notification_id <= %(upto)s AND EXISTS (SELECT FROM position_ranges);

-- name: move
-- For display only: publishing continues from the end of the stream itself (jetstream.py).
UPDATE projection_versions
SET position = %(position)s, rate_events_per_second = %(rate)s, last_error = NULL, advanced_at = now()
WHERE name = 'nats' AND version = 1;

-- name: well
-- The broker answers and has everything, so an error of the last connection is over. While something waits, only its
-- publication shows that: an error that comes and goes would be seen by nobody.
UPDATE projection_versions SET last_error = NULL
WHERE name = 'nats' AND version = 1 AND state = 'running' AND last_error IS NOT NULL;

-- name: halt
UPDATE projection_versions SET state = 'halted', last_error = %(reason)s
WHERE name = 'nats' AND version = 1 AND state = 'running';

-- name: record_error
UPDATE projection_versions SET
    failing_since = CASE WHEN last_error IS NULL THEN clock_timestamp() ELSE coalesce(failing_since, clock_timestamp()) END,
    failed_at = clock_timestamp(), last_error = %(reason)s
WHERE name = 'nats' AND version = 1;
