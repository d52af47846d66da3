-- name: progress
-- The lag is the age of the oldest event that is not projected yet; of one that is missing or cannot be read, the time
-- since the projection came to stand before it. The rate fades while nothing is advanced. The age of a dead letter is that
-- of its first failure.
SELECT p.name, v.version, v.position, head.position, v.state,
    greatest(head.position - v.position, 0),
    CASE WHEN head.position > v.position THEN greatest(0, extract(
        epoch FROM clock_timestamp() - coalesce((decoded(next.state) ->> 'recorded_at')::timestamptz, v.advanced_at)
    )) ELSE 0 END::double precision,
    v.rate_events_per_second * exp(
        -least(greatest(extract(epoch FROM now() - v.advanced_at), 0), 100) / %(rate_seconds)s
    )::double precision,
    v.held_streams, v.last_error, letters.oldest, letters.age_seconds
FROM projections AS p
JOIN projection_versions AS v ON v.name = p.name AND v.version = p.live_version
CROSS JOIN head
CROSS JOIN LATERAL (
    SELECT min(position) AS oldest, coalesce(
        extract(epoch FROM clock_timestamp() - min(first_failed_at)), 0
    )::double precision AS age_seconds
    FROM dead_letters WHERE projection = p.name AND projection_version = v.version AND state = 'open'
) AS letters
LEFT JOIN events AS next ON next.notification_id = v.position + 1
WHERE %(name)s::text IS NULL OR p.name = %(name)s
ORDER BY p.name;
