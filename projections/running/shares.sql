-- name: taken
-- Which of these places somebody holds (`hold` in projections/engine/batches.sql takes them).
SELECT wanted.name
FROM unnest(%(names)s::text[]) AS wanted(name)
CROSS JOIN LATERAL hashtextextended(%(purpose)s || ' ' || current_schema() || '/' || wanted.name, 0) AS key
WHERE EXISTS (
    SELECT FROM pg_locks AS lock
    WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 1
    AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND lock.classid::bigint = (key >> 32) & 4294967295 AND lock.objid::bigint = key & 4294967295
);
