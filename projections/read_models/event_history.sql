-- name: at_positions
-- As they are stored. No more than fit into `most_bytes` so, but for the last of them, so that there is always one. How long a state is shows
-- without reading it.
SELECT originator_id, originator_version, topic, state, notification_id, shares, base FROM (
    SELECT originator_id, originator_version, topic, state, notification_id, shares, base,
        sum(octet_length(state)) OVER (ORDER BY notification_id :order ROWS UNBOUNDED PRECEDING) - octet_length(state)
            AS before
    FROM abbreviated_events WHERE notification_id = ANY(%(positions)s::bigint[])
) AS event
WHERE before < %(most_bytes)s ORDER BY notification_id :order;

-- name: between
SELECT originator_id, originator_version, topic, state, notification_id, shares, base FROM (
    SELECT originator_id, originator_version, topic, state, notification_id, shares, base,
        sum(octet_length(state)) OVER (ORDER BY notification_id :order ROWS UNBOUNDED PRECEDING) - octet_length(state)
            AS before
    FROM abbreviated_events WHERE notification_id >= %(low)s AND notification_id < %(high)s
    ORDER BY notification_id :order LIMIT %(limit)s
) AS event
WHERE before < %(most_bytes)s ORDER BY notification_id :order;

-- name: first_since
-- The position from which on everything was recorded at or after a time, found by binary search: recorded time never
-- runs against positions. The times of copied events are older than those around them, so the head's stands in for them.
-- A missing event, or one whose time cannot be read, ends the search: then there is no row.
WITH RECURSIVE narrowed(low, high) AS (
    SELECT 1::bigint, position + 1 FROM head
    UNION ALL
    SELECT CASE WHEN recorded_at < %(time)s::text THEN middle + 1 ELSE low END,
        CASE WHEN recorded_at < %(time)s::text THEN high ELSE middle END
    FROM narrowed
    CROSS JOIN LATERAL (SELECT (low + high) / 2 AS middle) AS half
    CROSS JOIN LATERAL (
        SELECT coalesce(copied_at(middle), decoded(state) ->> 'recorded_at') COLLATE "C" AS recorded_at
        FROM events WHERE notification_id = middle OFFSET 0
    ) AS event
    WHERE low < high AND recorded_at IS NOT NULL
)
SELECT low FROM narrowed WHERE low = high;

-- name: copies
-- Where copies of a ledger's events begin and end, with the time of the first of them, in their order.
SELECT c.first, c.last, decoded(e.state) ->> 'recorded_at'
FROM copied_events AS c JOIN events AS e ON e.notification_id = c.first
WHERE c.ledger = %(ledger)s ORDER BY c.first;
