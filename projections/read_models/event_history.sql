-- name: at_positions
SELECT originator_id, originator_version, topic, state, notification_id FROM events
WHERE notification_id = ANY(%(positions)s::bigint[]);

-- name: between
SELECT originator_id, originator_version, topic, state, notification_id FROM events
WHERE notification_id >= %(low)s AND notification_id < %(high)s ORDER BY notification_id :order LIMIT %(limit)s;

-- name: first_since
-- The position from which on everything was recorded at or after a time, found by binary search: recorded time never
-- runs against positions. A missing event, or one whose time cannot be read, ends the search: then there is no row.
WITH RECURSIVE narrowed(low, high) AS (
    SELECT 1::bigint, position + 1 FROM head
    UNION ALL
    SELECT CASE WHEN recorded_at < %(time)s::text THEN middle + 1 ELSE low END,
        CASE WHEN recorded_at < %(time)s::text THEN high ELSE middle END
    FROM narrowed
    CROSS JOIN LATERAL (SELECT (low + high) / 2 AS middle) AS half
    CROSS JOIN LATERAL (
        SELECT (decoded(state) ->> 'recorded_at') COLLATE "C" AS recorded_at
        FROM events WHERE notification_id = middle OFFSET 0
    ) AS event
    WHERE low < high AND recorded_at IS NOT NULL
)
SELECT low FROM narrowed WHERE low = high;
