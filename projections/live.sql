-- name: one_instant
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: live
SELECT p.live_version, v.position, head.position
FROM projections AS p
JOIN projection_versions AS v ON v.name = p.name AND v.version = p.live_version
CROSS JOIN head
WHERE p.name = %(name)s;
