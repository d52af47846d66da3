-- name: one_instant
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: live
-- A row always: of a version that is not there, the head alone.
SELECT v.version, v.position, v.state, head.position
FROM head
LEFT JOIN projection_versions AS v ON v.name = %(name)s AND v.shape = %(shape)s AND v.live;
