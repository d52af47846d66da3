-- name: of_account
in_stream(originator_id, %(first)s)

-- name: of_prefix
originator_id >= %(first)s AND originator_id < %(last)s

-- name: changes
-- Each change of an account, together with the previous event about the same attributes. One pass over the journal, or
-- over the stream of the one account, finds the changes. The rest works on these events, which are few compared to
-- postings.
WITH changes AS MATERIALIZED (
    SELECT originator_id, originator_version, topic, state, notification_id FROM events
    WHERE :wanted AND topic = ANY(%(topics)s)
),
limits AS (
    SELECT 'limits' AS facet, *, lag(state) OVER earlier AS before, lag(topic) OVER earlier AS before_topic FROM changes
    WHERE topic IN ('account.opened', 'account.limits_changed')
    WINDOW earlier AS (PARTITION BY originator_id ORDER BY originator_version)
),
metadata AS (
    SELECT 'metadata' AS facet, *, lag(state) OVER earlier AS before, lag(topic) OVER earlier AS before_topic FROM changes
    WHERE topic IN ('account.opened', 'account.metadata_changed')
    WINDOW earlier AS (PARTITION BY originator_id ORDER BY originator_version)
),
status AS (
    SELECT 'status' AS facet, *, lag(state) OVER earlier AS before, lag(topic) OVER earlier AS before_topic FROM changes
    WHERE topic IN ('account.opened', 'account.frozen', 'account.unfrozen', 'account.closed')
    WINDOW earlier AS (PARTITION BY originator_id ORDER BY originator_version)
),
openings AS (
    SELECT originator_id, originator_version, state FROM changes WHERE topic = 'account.opened'
)
SELECT c.facet, c.originator_id, c.originator_version, c.topic, c.state, c.notification_id, c.before_topic, c.before,
    o.state
FROM (
    SELECT * FROM status UNION ALL SELECT * FROM limits UNION ALL SELECT * FROM metadata
) AS c
JOIN openings AS o USING (originator_id)
WHERE c.facet = ANY(%(facets)s)
ORDER BY c.notification_id, c.facet = 'metadata', c.facet = 'limits';
