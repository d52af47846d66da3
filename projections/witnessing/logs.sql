-- name: watch
INSERT INTO witnessed_logs AS l (name, is_watched) SELECT name, true FROM unnest(%(names)s::text[]) AS name
ON CONFLICT (name) DO UPDATE SET is_watched = true WHERE NOT l.is_watched;

-- name: leave_others
UPDATE witnessed_logs SET is_watched = false WHERE is_watched AND name <> ALL (%(names)s::text[]);

-- name: leave
UPDATE witnessed_logs SET is_watched = false WHERE name = %(name)s RETURNING name;

-- name: newest
-- The newest events of the streams of some logs, or of all that were ever witnessed. Each says all that is known.
SELECT e.originator_id, e.originator_version, e.topic, e.state, e.notification_id
FROM witnessed_logs AS l
CROSS JOIN LATERAL (
    SELECT originator_id, originator_version, topic, state, notification_id FROM events
    WHERE in_stream(originator_id, '-/witnesses/' || l.name) ORDER BY originator_version DESC LIMIT 1
) AS e
WHERE %(names)s::text[] IS NULL OR l.name = ANY (%(names)s::text[])
ORDER BY l.name;

-- name: looks
SELECT name, is_watched, seen_at, seen_size, last_error,
    extract(epoch FROM clock_timestamp() - coalesce(seen_at, added_at))::double precision
FROM witnessed_logs ORDER BY name;

-- name: seen
UPDATE witnessed_logs SET seen_at = clock_timestamp(), seen_size = %(size)s, last_error = NULL
WHERE name = %(name)s;

-- name: failed
UPDATE witnessed_logs SET last_error = %(reason)s WHERE name = %(name)s;

-- name: own_size
-- The newest event that is no record of witnessing, or the one before those that are looked at: an installation that does
-- no business may have millions of records.
SELECT coalesce((
    SELECT notification_id FROM (
        SELECT notification_id, topic FROM events ORDER BY notification_id DESC LIMIT %(looked_at)s
    ) AS newest
    WHERE topic NOT IN ('checkpoint.witnessed', 'checkpoint.disputed', 'checkpoint.dispute_settled')
    ORDER BY notification_id DESC LIMIT 1
), (
    SELECT notification_id FROM events ORDER BY notification_id DESC OFFSET %(looked_at)s LIMIT 1
), 0);

-- name: history
SELECT e.originator_id, e.originator_version, e.topic, e.state, e.notification_id
FROM witnessed_logs AS l
JOIN events AS e ON in_stream(e.originator_id, '-/witnesses/' || l.name)
ORDER BY l.name, e.originator_version;

-- name: events
-- One row of nulls if the log is known and has no such events. No row if it is not known.
SELECT e.originator_id, e.originator_version, e.topic, e.state, e.notification_id
FROM witnessed_logs AS l
LEFT JOIN LATERAL (
    SELECT originator_id, originator_version, topic, state, notification_id FROM events
    WHERE in_stream(originator_id, '-/witnesses/' || l.name)
    AND (%(after)s::bigint IS NULL OR originator_version :beyond %(after)s::bigint)
    ORDER BY originator_version :order LIMIT %(limit)s
) AS e ON true
WHERE l.name = %(name)s ORDER BY e.originator_version :order;
