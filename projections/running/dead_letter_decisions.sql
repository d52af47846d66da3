-- name: patience
-- An advance takes a moment, but another decision may take long: a caller need not wait for that.
SELECT set_config('lock_timeout', %(patience_seconds)s || 's', true);

-- name: lock_version
-- Every advance takes this lock first, so the version's position cannot move. There the stream is handed back.
SELECT v.position, v.shape, v.state, head.position FROM dead_letters AS l
JOIN projection_versions AS v ON v.name = l.projection AND v.version = l.projection_version CROSS JOIN head
WHERE l.id = %(id)s FOR UPDATE OF v;

-- name: held_events
-- Read in portions by the journal's index of streams: the events that the projection reads, up to its position. A portion has
-- no more than fits into `most_bytes`, except for its last event.
SELECT originator_id, originator_version, topic, state, notification_id FROM (
    SELECT originator_id, originator_version, topic, state, notification_id,
        sum(octet_length(state)) OVER (ORDER BY originator_version ROWS UNBOUNDED PRECEDING) - octet_length(state)
            AS before
    FROM events
    WHERE in_stream(originator_id, %(stream)s) AND originator_version > %(after)s AND notification_id <= %(upto)s
    AND (topic = ANY(%(topics)s) OR originator_version > 1 AND topic = ANY(%(continuing)s))
    ORDER BY originator_version LIMIT %(limit)s
) AS event
WHERE before < %(most_bytes)s ORDER BY originator_version;

-- name: fail_again
UPDATE dead_letters SET attempts = attempts + 1, last_failed_at = clock_timestamp(), shape = %(shape)s,
    exception = %(exception)s, message = %(message)s, release = %(release)s
WHERE id = %(id)s;

-- name: close
UPDATE dead_letters SET state = %(state)s, closed_at = clock_timestamp(), closed_by = %(actor)s,
    reason = %(reason)s, closing_correlation_id = %(correlation_id)s, followed_by = %(followed_by)s
WHERE id = %(id)s;
