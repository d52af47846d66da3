-- name: held
SELECT stream FROM dead_letters
WHERE projection = %(projection)s AND projection_version = %(version)s AND state = 'open';

-- name: lock_version
-- Only one transaction at a time counts and adds the letters of a version. The lock is weak enough not to wait for rows
-- that refer to this one.
SELECT FROM projection_versions WHERE name = %(projection)s AND version = %(version)s FOR NO KEY UPDATE;

-- name: streams
SELECT notification_id, originator_id FROM events WHERE notification_id = ANY(%(positions)s);

-- name: add
-- The event's members are read here from its stored bytes, which need not make sense. The clock is read once, because
-- the first failure is also the last.
INSERT INTO dead_letters (
    id, projection, projection_version, shape, stream, stream_version, position, topic, event_version, correlation_id,
    actor, accounts, exception, message, release, attempts, first_failed_at, last_failed_at
)
SELECT %(id)s, %(projection)s, %(version)s, %(shape)s, e.originator_id, e.originator_version, e.notification_id,
    e.topic,
    CASE WHEN d.event ->> 'class_version' ~ '^[0-9]{1,9}$' THEN (d.event ->> 'class_version')::int END,
    d.event ->> 'correlation_id', d.event ->> 'actor',
    ARRAY(
        SELECT DISTINCT split_part(e.originator_id, '/', 1) || '/accounts/' || (entry ->> 'account')
        FROM jsonb_path_query(d.event, '$.data.entries[*]') AS entry WHERE entry ->> 'account' IS NOT NULL
    ),
    %(exception)s, %(message)s, %(release)s, %(attempts)s, failed.at, failed.at
FROM events AS e
CROSS JOIN (SELECT clock_timestamp() AS at OFFSET 0) AS failed
CROSS JOIN LATERAL (SELECT decoded(e.state) AS event OFFSET 0) AS d
WHERE e.notification_id = %(position)s;

-- name: columns
-- Versions of a stream have no gaps, so the events that follow are counted without reading them.
l.id, l.projection, l.projection_version, l.shape, l.state, l.stream, l.stream_version, l.position, l.topic,
l.event_version, l.correlation_id, l.actor, l.exception, l.message, l.release, l.attempts, l.first_failed_at,
l.last_failed_at,
CASE WHEN l.state = 'open'
    THEN (SELECT max(originator_version) FROM events WHERE in_stream(originator_id, l.stream)) - l.stream_version ELSE 0
END,
l.closed_at, l.closed_by, l.reason, l.closing_correlation_id, l.followed_by;

-- name: find
SELECT :columns FROM dead_letters AS l WHERE l.id = %(id)s;

-- name: stream
SELECT stream FROM dead_letters WHERE id = %(id)s;

-- name: list
SELECT :columns FROM dead_letters AS l
WHERE (%(projection)s::text IS NULL OR l.projection = %(projection)s)
AND (%(state)s::text IS NULL OR l.state = %(state)s)
AND (%(granted)s::text[] IS NULL OR split_part(l.stream, '/', 1) = ANY(%(granted)s::text[]))
AND (%(after_time)s::timestamptz IS NULL OR (l.first_failed_at, l.id) :beyond (%(after_time)s, %(after_id)s::uuid))
ORDER BY l.first_failed_at :order, l.id :order LIMIT %(limit)s;

-- name: about
SELECT :columns FROM dead_letters AS l
WHERE l.position = ANY(%(positions)s::bigint[]) OR l.state = 'open' AND l.stream = ANY(%(streams)s::text[])
ORDER BY l.first_failed_at, l.id;
