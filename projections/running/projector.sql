-- name: standing
SELECT v.version, v.position, v.state, v.runner, v.last_error, head.position
FROM projection_versions AS v CROSS JOIN head
WHERE v.name = %(name)s AND v.shape = %(shape)s AND v.live;

-- name: record_error
-- Each advance, and whoever resumes it, has cleared the error: one that is there is of the same failure.
UPDATE projection_versions SET
    failing_since = CASE WHEN last_error IS NULL THEN clock_timestamp() ELSE coalesce(failing_since, clock_timestamp()) END,
    failed_at = clock_timestamp(), last_error = %(error)s
WHERE name = %(name)s AND shape = %(shape)s AND live AND runner = %(runner)s;

-- name: session
-- Losing the last moments of a projection in a crash loses nothing: its position is lost with them, and the journal
-- has it all. So its commits need not wait for the disk, for which the writer's wait.
-- Statements that are planned once must find rows by an index even if a table was small when they were planned.
SET synchronous_commit = off;
SET enable_seqscan = off;
