-- name: session
-- A rebuild interrupted by a crash of the server loses some of its last batches, and their positions with them. If a
-- client is killed, its server process ends within a second, so that another can continue. If a client is only stopped,
-- its server process ends after half a minute, which is longer than folding any batch takes. All cores are busy, so
-- helpers that read a small table, or sort it for an index, only add the time in which they start: a fifth of it.
SET synchronous_commit = off;
SET idle_in_transaction_session_timeout = '30s';
SET client_connection_check_interval = '1s';
SET min_parallel_table_scan_size = '64MB';

-- name: take_over
UPDATE rebuild_parts SET runner = %(runner)s
WHERE name = %(name)s AND version = %(version)s AND number = %(number)s
RETURNING parts, position, upto;

-- name: advance
-- Always the first statement of its transaction: a session that changes this row, to fence or cancel, locks it out.
UPDATE rebuild_parts AS p SET position = %(upto)s
FROM rebuilds AS r
WHERE p.name = %(name)s AND p.version = %(version)s AND p.number = %(number)s
AND p.position = %(after)s AND p.runner = %(runner)s
AND r.name = p.name AND r.version = p.version AND %(moves)s::jsonb ? r.state
RETURNING (SELECT held_streams FROM projection_versions AS v WHERE v.name = p.name AND v.version = p.version);

-- name: stop
-- Runs in the transaction that has moved the position too far.
UPDATE rebuild_parts SET position = %(upto)s
WHERE name = %(name)s AND version = %(version)s AND number = %(number)s;

-- name: fail
UPDATE rebuilds SET state = %(moves)s::jsonb ->> state, last_error = %(reason)s
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;
