-- name: waiting
-- The oldest unmade delivery of each webhook: the index by state leads straight to it, however many wait behind it.
SELECT w.id::text, w.state, recorded.at, oldest.position, w.disabled_reason
FROM webhooks AS w
CROSS JOIN LATERAL (
    SELECT min(first.position) AS position FROM unnest(ARRAY['pending', 'sent']) AS wanted (state)
    CROSS JOIN LATERAL (
        SELECT position FROM deliveries WHERE state = wanted.state AND webhook_id = w.id
        AND state <> 'acknowledged' ORDER BY position LIMIT 1
    ) AS first
) AS oldest
CROSS JOIN LATERAL (
    SELECT coalesce((decoded(state) ->> 'recorded_at')::timestamptz, w.created_at) AS at FROM events
    WHERE notification_id = oldest.position LIMIT 1
) AS recorded
WHERE w.state <> 'deleted' AND recorded.at <= %(before)s
AND (%(granted)s::text[] IS NULL OR w.ledgers <@ %(granted)s::text[])
ORDER BY recorded.at, w.id LIMIT %(limit)s;

-- name: failed
-- Deliveries that were given up. Each holds back the later ones of its key until somebody decides.
SELECT d.webhook_id::text, recorded.at, split_part(recorded.stream, '/', 1), d.position, d.reason
FROM webhooks AS w
CROSS JOIN LATERAL (
    SELECT * FROM deliveries WHERE state = 'failed' AND webhook_id = w.id AND state <> 'acknowledged'
    ORDER BY position LIMIT %(limit)s
) AS d
CROSS JOIN LATERAL (
    SELECT originator_id AS stream, coalesce((decoded(state) ->> 'recorded_at')::timestamptz, w.created_at) AS at
    FROM events WHERE notification_id = d.position LIMIT 1
) AS recorded
WHERE %(granted)s::text[] IS NULL OR w.ledgers <@ %(granted)s::text[]
ORDER BY d.position, w.id LIMIT %(limit)s;

-- name: recorded_at
-- Age counts from this and not from the lag, which is measured anew each time: order must not change between pages.
SELECT coalesce(copied_at(notification_id), decoded(state) ->> 'recorded_at')::timestamptz FROM events
WHERE notification_id = %(position)s;

-- name: standing
-- How long it has not been advanced although it lacks an event, and when an attempt to advance it last failed.
SELECT extract(epoch FROM clock_timestamp() - greatest(v.advanced_at, next.recorded_at))::double precision,
    extract(epoch FROM clock_timestamp() - v.failed_at)::double precision
FROM projection_versions AS v
LEFT JOIN LATERAL (
    SELECT coalesce(copied_at(notification_id), decoded(state) ->> 'recorded_at')::timestamptz AS recorded_at
    FROM events WHERE notification_id = v.position + 1
) AS next ON true
WHERE v.name = %(name)s AND v.version = %(version)s;
