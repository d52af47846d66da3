-- name: standings
-- LATERAL with a LIMIT is one look-up for each, whatever the statistics.
SELECT v.*, head.position
FROM unnest(%(names)s::text[], %(shapes)s::int[]) AS wanted(name, shape)
CROSS JOIN head
CROSS JOIN LATERAL (
    SELECT v.name, v.version, v.position, v.state, v.runner, v.last_error FROM projection_versions AS v
    WHERE v.name = wanted.name AND v.shape = wanted.shape AND v.live LIMIT 1
) AS v;

-- name: record_error
-- Every advance and every resumption clears the error, and so does a runner that lacks no event. So an error that is
-- still there belongs to the same failure.
UPDATE projection_versions SET
    failing_since = CASE WHEN last_error IS NULL THEN clock_timestamp() ELSE coalesce(failing_since, clock_timestamp()) END,
    failed_at = clock_timestamp(), last_error = %(error)s
WHERE name = ANY(%(names)s) AND live AND runner = %(runner)s;

-- name: clear_error
UPDATE projection_versions SET last_error = NULL
WHERE name = %(name)s AND version = %(version)s AND runner = %(runner)s AND state = 'running';

-- name: session
-- A crash may lose the last commits of a projection. Their position is lost with them and the journal has the events,
-- so nothing is missing afterwards. These commits therefore need not wait for the disk, on which the writer waits.
-- Statements that are planned once must use an index even if a table was small when they were planned.
SET synchronous_commit = off;
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
