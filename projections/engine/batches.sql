-- name: hold
-- The session holds the lock, so the server frees it when the runner's connection ends, for whatever reason.
SELECT pg_try_advisory_lock(hashtextextended(%(purpose)s || ' ' || current_schema() || '/' || %(name)s, 0));

-- name: release
SELECT pg_advisory_unlock(hashtextextended(%(purpose)s || ' ' || current_schema() || '/' || %(name)s, 0));

-- name: clock
SELECT extract(epoch FROM clock_timestamp())::float8;

-- name: take_over
UPDATE projection_versions SET runner = %(runner)s WHERE name = %(name)s AND version = %(version)s;

-- name: wanted
(%(topics)s::text[] IS NULL OR topic = ANY(%(topics)s) OR originator_version > 1 AND topic = ANY(%(continuing)s))
AND (
    %(parts)s::bigint = 1
    OR (hashtextextended(originator_id, 0) & 9223372036854775807) %% %(parts)s = %(number)s::bigint
);

-- name: count
-- Positions have no gaps, so there must be as many events as positions.
SELECT count(*) FROM events WHERE notification_id > %(after)s AND notification_id <= %(upto)s;

-- name: measure
-- Also counts. How long a state is shows without reading it.
SELECT count(*), coalesce(sum(octet_length(state)) FILTER (WHERE shares = 0 OR :wanted), 0)
FROM abbreviated_events WHERE notification_id > %(after)s AND notification_id <= %(upto)s;

-- name: stretch
-- As they are stored. Events that have an envelope of their own are among them, without a topic if they are not wanted:
-- most events share one of theirs, and to look it up for each of these takes twice the time of reading them.
SELECT originator_id, originator_version, CASE WHEN :wanted THEN topic END, state, notification_id, shares
FROM abbreviated_events
WHERE notification_id > %(after)s AND notification_id <= %(upto)s AND (shares = 0 OR :wanted)
ORDER BY notification_id;

-- name: events
-- As they are stored, for `whole_rows`. No more than fit into `most_bytes` so, but for the last of them, so that there is
-- always one. What does not fit costs nothing but its row.
SELECT originator_id, originator_version, topic, state, notification_id, shares, base FROM (
    SELECT originator_id, originator_version, topic, state, notification_id, shares, base,
        sum(octet_length(state)) OVER (ORDER BY notification_id ROWS UNBOUNDED PRECEDING) - octet_length(state) AS before
    FROM abbreviated_events
    WHERE notification_id > %(after)s AND notification_id <= %(upto)s AND :wanted
) AS event
WHERE before < %(most_bytes)s ORDER BY notification_id;

-- name: recent
-- Without `base`: it is looked up for each event, and a range has it already, but for the first of its events
-- (`with_bases` looks those up). So whatever is fetched, each command's first event is. A third of PostgreSQL's time.
SELECT originator_id, originator_version, topic, state, notification_id, shares FROM (
    SELECT originator_id, originator_version, topic, state, notification_id, shares,
        sum(octet_length(state)) OVER (ORDER BY notification_id ROWS UNBOUNDED PRECEDING) - octet_length(state) AS before
    FROM stored_events
    WHERE notification_id > %(after)s AND notification_id <= %(upto)s
    AND (
        %(topics)b::text[] IS NULL OR coalesce(shares, 0) = 0
        OR topic = ANY(%(topics)b) OR originator_version > 1 AND topic = ANY(%(continuing)b::text[])
    )
) AS event
WHERE before < %(most_bytes)s ORDER BY notification_id;

-- name: first_gap
SELECT min(position) FROM generate_series(%(after)s::bigint + 1, %(upto)s::bigint) AS position
WHERE NOT EXISTS (SELECT FROM events WHERE notification_id = position);

-- name: advance
-- The first statement of its transaction, so that it excludes anyone who changes this row to fence, pause or replace
-- the version.
UPDATE projection_versions SET
    position = %(upto)s, rate_events_per_second = %(rate)s, last_error = NULL, advanced_at = now()
WHERE name = %(name)s AND version = %(version)s
AND position = %(after)s AND runner = %(runner)s AND state = %(state)s
RETURNING held_streams;

-- name: stop
-- In the transaction that has moved the position too far. A version that is being rebuilt keeps its state. Its next
-- rebuild starts over because there is an error.
UPDATE projection_versions SET
    position = %(upto)s, state = CASE state WHEN 'running' THEN 'halted' ELSE state END,
    last_error = %(reason)s
WHERE name = %(name)s AND version = %(version)s;

-- name: announce
SELECT pg_notify(%(channel)s, %(of_shape)s || ':' || %(upto)s::text);

-- name: pass_over
-- Moves the position and announces it in one statement, for batches in which nothing else is written.
WITH moved AS (:advance)
SELECT pg_notify(%(channel)s, %(of_shape)s || ':' || %(upto)s::text) FROM moved;

-- name: halt
UPDATE projection_versions SET state = 'halted', last_error = %(reason)s
WHERE name = %(name)s AND version = %(version)s
AND position = %(after)s AND runner = %(runner)s AND state = 'running';

-- name: go_on
UPDATE projection_versions SET state = 'running', last_error = NULL
WHERE name = %(name)s AND version = %(version)s
AND position = %(after)s AND runner = %(runner)s AND state = 'halted';
