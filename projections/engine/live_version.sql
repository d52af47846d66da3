-- name: one_instant
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: live
-- Always one row. If there is no such version, it has only the head.
SELECT v.version, v.position, v.state, head.position, v.held_streams
FROM head
LEFT JOIN projection_versions AS v ON v.name = %(name)s AND v.shape = %(shape)s AND v.live;

-- name: lacking
-- A letter concerns an account if it belongs to the account's own stream, or if its event names the account.
WITH letters AS (
    SELECT id, position, stream = %(account)s::text OR %(account)s::text = ANY(accounts) AS concerns FROM dead_letters
    WHERE projection = %(name)s AND projection_version = %(version)s AND state = 'open'
),
held AS (SELECT id, position FROM letters WHERE concerns ORDER BY position LIMIT 1)
SELECT count(*), min(position), (SELECT id FROM held), (SELECT position FROM held) FROM letters;
