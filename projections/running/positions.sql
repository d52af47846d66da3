-- name: progress
-- For each projection, the live version of the wanted shape, even while it is still being filled. The lag is the age of
-- the oldest event not projected yet. If that event is missing or unreadable, it is the time since the projection
-- arrived before it. The rate decays while nothing is advanced. A dead letter's age counts from its first failure.
SELECT v.name, v.version, v.position, head.position, v.state,
    greatest(head.position - v.position, 0),
    CASE WHEN head.position > v.position THEN greatest(0, extract(
        epoch FROM clock_timestamp() - coalesce(
            coalesce(copied_at(next.notification_id), decoded(next.state) ->> 'recorded_at')::timestamptz, v.advanced_at
        )
    )) ELSE 0 END::double precision,
    v.rate_events_per_second * exp(
        -least(greatest(extract(epoch FROM now() - v.advanced_at), 0), 100) / %(rate_seconds)s
    )::double precision,
    v.held_streams, v.last_error, letters.oldest, letters.age_seconds
FROM unnest(%(names)s::text[], %(shapes)s::int[]) AS known(name, shape)
JOIN projection_versions AS v ON v.name = known.name AND v.shape = known.shape AND v.live
CROSS JOIN head
CROSS JOIN LATERAL (
    SELECT min(position) AS oldest, coalesce(
        extract(epoch FROM clock_timestamp() - min(first_failed_at)), 0
    )::double precision AS age_seconds
    FROM dead_letters WHERE projection = v.name AND projection_version = v.version AND state = 'open'
) AS letters
LEFT JOIN events AS next ON next.notification_id = v.position + 1
ORDER BY v.name;

-- name: positions
-- The live versions of every shape, for those who poll: some ten rows.
SELECT v.name, v.shape, v.version, v.position, v.state, head.position
FROM projection_versions AS v CROSS JOIN head WHERE v.live;

-- name: others_come_next
-- Whether an event after a position belongs to another ledger than these, or to none.
SELECT EXISTS (
    SELECT FROM events WHERE notification_id > %(after)s AND notification_id <= %(upto)s
    AND split_part(originator_id, '/', 1) <> ALL(%(granted)s::text[])
);

-- name: want
-- Without a change, so this is no work for the disk.
SELECT pg_notify(%(channel)s, projection) FROM unnest(%(projections)s::text[]) AS projection;
