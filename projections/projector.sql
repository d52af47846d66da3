-- name: standing
SELECT p.live_version, v.position, v.state, v.runner, head.position
FROM projections AS p
JOIN projection_versions AS v ON v.name = p.name AND v.version = p.live_version
CROSS JOIN head
WHERE p.name = %(name)s;

-- name: record_error
UPDATE projection_versions AS v SET last_error = %(error)s
FROM projections AS p
WHERE p.name = %(name)s AND v.name = p.name AND v.version = p.live_version AND v.runner = %(runner)s;

-- name: session
-- Losing the last moments of a projection in a crash loses nothing: its position is lost with them, and the journal
-- has it all. So its commits need not wait for the disk, for which the writer's wait.
-- Statements that are planned once must find rows by an index even if a table was small when they were planned.
-- A runner that is stopped in the midst of a transaction would hold up the switch to a rebuilt version.
SET synchronous_commit = off;
SET enable_seqscan = off;
SET idle_in_transaction_session_timeout = '60s';
