-- name: move
-- Moves the position of each version whose runner, state and position are as expected, and announces it. The rows
-- returned are those. A version whose row somebody else has locked, such as the retry of a dead letter, is passed over:
-- the others do not wait for it. Sent together with the transaction's beginning, and alone where nothing else is
-- written.
WITH expected AS (
    SELECT * FROM unnest(
        %(names)b::text[], %(shapes)b::text[], %(versions)b::bigint[], %(runners)b::text[]::uuid[],
        %(after)b::bigint[], %(upto)b::bigint[], %(rates)b::text[]::float8[]
    ) AS e(name, of_shape, version, runner, after, upto, rate)
), held AS (
    SELECT v.ctid AS place, e.of_shape, e.upto, e.rate
    FROM expected AS e JOIN projection_versions AS v ON v.name = e.name AND v.version = e.version
    WHERE v.position = e.after AND v.runner = e.runner AND v.state = 'running' AND v.live
    FOR NO KEY UPDATE OF v SKIP LOCKED
), moved AS (
    UPDATE projection_versions AS v SET
        position = held.upto, rate_events_per_second = held.rate, last_error = NULL, advanced_at = now()
    FROM held WHERE v.ctid = held.place
    RETURNING v.name, v.held_streams, held.of_shape, held.upto
)
SELECT name, held_streams, pg_notify(%(channel)s, of_shape || ':' || upto::text) FROM moved;
