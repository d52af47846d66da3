-- name: progress
-- The lag is the age of the oldest event that is not projected yet; of one that is missing or cannot be read, the time
-- since the projection came to stand before it. The rate fades while nothing is advanced.
SELECT p.name, v.version, v.position, head.position, v.state,
    greatest(head.position - v.position, 0),
    CASE WHEN head.position > v.position THEN greatest(0, extract(
        epoch FROM clock_timestamp() - coalesce((decoded(next.state) ->> 'recorded_at')::timestamptz, v.advanced_at)
    )) ELSE 0 END::double precision,
    v.rate_events_per_second * exp(
        -least(greatest(extract(epoch FROM now() - v.advanced_at), 0), 100) / %(rate_seconds)s
    )::double precision,
    0, v.last_error
FROM projections AS p
JOIN projection_versions AS v ON v.name = p.name AND v.version = p.live_version
CROSS JOIN head
LEFT JOIN events AS next ON next.notification_id = v.position + 1
WHERE %(name)s::text IS NULL OR p.name = %(name)s
ORDER BY p.name;
