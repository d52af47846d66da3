-- name: session
-- A rebuild interrupted by a crash of the server loses some of its last batches, whose positions are lost with them. A
-- server process whose client was killed ends what it does within a second, so that another can go on; one whose client
-- was stopped ends after half a minute, which is longer than any batch takes to be folded.
SET synchronous_commit = off;
SET idle_in_transaction_session_timeout = '30s';
SET client_connection_check_interval = '1s';

-- name: take_over
UPDATE rebuild_parts SET runner = %(runner)s
WHERE name = %(name)s AND version = %(version)s AND number = %(number)s
RETURNING parts, position, upto;

-- name: advance
-- First of all in its transaction: whoever changes this row, to fence or to cancel, excludes us.
UPDATE rebuild_parts AS p SET position = %(upto)s
FROM rebuilds AS r
WHERE p.name = %(name)s AND p.version = %(version)s AND p.number = %(number)s
AND p.position = %(after)s AND p.runner = %(runner)s
AND r.name = p.name AND r.version = p.version AND r.state = 'filling'
RETURNING (SELECT held_streams FROM projection_versions AS v WHERE v.name = p.name AND v.version = p.version);

-- name: stop
-- In the transaction that has moved the position too far.
UPDATE rebuild_parts SET position = %(upto)s
WHERE name = %(name)s AND version = %(version)s AND number = %(number)s;

-- name: fail
UPDATE rebuilds SET state = 'failed', last_error = %(reason)s
WHERE name = %(name)s AND version = %(version)s AND state IN ('requested', 'filling', 'comparing');
