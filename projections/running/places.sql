-- name: holders
-- A place is a session's advisory lock on the hash of its purpose and name (`batches.sql` takes it). A standby shows
-- none. Only a login that may see a session sees what it waits for.
SELECT wanted.purpose, wanted.name, session.pid, coalesce(session.application_name, ''),
    CASE WHEN session.backend_start IS NULL THEN 'a client that this login may not see'
        WHEN session.client_addr IS NULL THEN 'this machine''s socket'
        ELSE concat_ws(' port ', host(session.client_addr), session.client_port) END,
    session.backend_start, coalesce(session.state, ''), pg_blocking_pids(session.pid)
FROM unnest(%(purposes)s::text[], %(names)s::text[]) AS wanted(purpose, name)
CROSS JOIN LATERAL hashtextextended(
    wanted.purpose || ' ' || current_schema() || '/' || wanted.name, 0
) AS key
JOIN pg_locks AS lock ON lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 1
    AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND lock.classid::bigint = (key >> 32) & 4294967295 AND lock.objid::bigint = key & 4294967295
JOIN pg_stat_activity AS session ON session.pid = lock.pid
ORDER BY wanted.purpose, wanted.name;

-- name: sessions
-- The sessions that make others wait.
SELECT pid, coalesce(application_name, ''), coalesce(usename, ''), coalesce(state, '') FROM pg_stat_activity
WHERE pid = ANY(%(pids)s) ORDER BY pid;

-- name: is_standby
SELECT pg_is_in_recovery();

-- name: end
SELECT pg_terminate_backend(%(pid)s, 5000);
