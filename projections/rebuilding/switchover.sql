-- name: durable
SET LOCAL synchronous_commit = on;

-- name: bound
-- For the transaction that holds the live version while another session catches up.
SELECT set_config('idle_in_transaction_session_timeout', %(silence)s::text, true);

-- name: live
SELECT version, position, state FROM projection_versions
WHERE name = %(name)s AND shape = %(shape)s AND live;

-- name: position
-- No row while some of its parts are not filled yet.
SELECT position FROM projection_versions AS v
WHERE name = %(name)s AND version = %(version)s AND NOT EXISTS (
    SELECT FROM rebuild_parts WHERE name = v.name AND version = v.version
);

-- name: head
SELECT position FROM head;

-- name: set_comparing
UPDATE rebuilds SET state = %(moves)s::jsonb ->> state
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;

-- name: lock_version
-- While this lock is held, the live version cannot be advanced, but can be read.
SELECT FROM projection_versions WHERE name = %(name)s AND version = %(version)s FOR UPDATE;

-- name: compared
UPDATE rebuilds SET
    compared_version = %(replaced)s, compared_position = %(position)s, comparison = %(comparison)s::jsonb,
    difference_expected = %(expected)s, state = %(moves)s::jsonb ->> state
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;

-- name: letters
-- What each version lacks because of its own dead letters: discarded events, and held streams.
SELECT projection_version, count(*) FROM dead_letters
WHERE projection = %(name)s AND projection_version IN (%(live)s, %(version)s) AND state IN ('open', 'discarded')
GROUP BY projection_version ORDER BY projection_version;

-- name: missing_tables
SELECT name FROM unnest(%(names)s::text[]) AS name WHERE to_regclass(name) IS NULL;

-- name: switched
UPDATE rebuilds SET state = %(moves)s::jsonb ->> state, ended_at = now(), last_error = NULL
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;

-- name: retire
UPDATE projection_versions SET state = 'retired', live = false WHERE name = %(name)s AND version = %(replaced)s;

-- name: promote
UPDATE projection_versions SET state = %(state)s, live = true, runner = NULL, last_error = NULL
WHERE name = %(name)s AND version = %(version)s;

-- name: switch_older
-- For older releases, which know only one live version.
UPDATE projections SET live_version = %(version)s WHERE name = %(name)s AND live_version = %(replaced)s;
