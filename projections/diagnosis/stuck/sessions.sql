-- name: waited_for
-- Sessions that a session of the service waits for, and strangers that have locked a whole table of the installation.
-- The second kind is found even if nobody waits at this moment: waits are short, since the writer gives up and retries.
SELECT blocker, 'what ' || w.application_name || ' waits for'
FROM pg_stat_activity AS w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS blocker
WHERE w.datname = current_database() AND w.application_name LIKE 'tallystick%' AND w.wait_event_type = 'Lock'
AND blocker > 0
UNION
SELECT l.pid, 'the table ' || c.relname
FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
LEFT JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND c.relnamespace = current_schema()::regnamespace
AND l.mode IN ('ExclusiveLock', 'AccessExclusiveLock') AND coalesce(a.application_name, '') NOT LIKE 'tallystick%';

-- name: holders_of_head
-- The locked row names the transaction that holds it.
SELECT l.pid FROM head JOIN pg_locks AS l ON l.transactionid = head.xmax
WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock' AND l.pid <> pg_backend_pid();

-- name: sessions
SELECT pid, coalesce(application_name, ''), usename,
    coalesce(host(client_addr) || ':' || client_port, 'this machine or unseen'),
    state, xact_start, coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0)::float8
FROM pg_stat_activity
WHERE pid = ANY(%(pids)s) AND coalesce(xact_start <= clock_timestamp() - make_interval(secs => %(seconds)s), true)
AND backend_type = 'client backend'
-- a session that waits for a lock itself is not the cause
AND wait_event_type IS DISTINCT FROM 'Lock'
ORDER BY xact_start, pid;
