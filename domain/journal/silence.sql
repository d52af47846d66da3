-- name: transactions
-- The keepalives are for a client whose machine is gone; `tcp_user_timeout` is also for one that reads no answer.
SELECT set_config(name, value, false) FROM (VALUES
    ('idle_in_transaction_session_timeout', %(silence)s::text || 's'),
    ('tcp_user_timeout', %(silence)s::text || 's'),
    ('tcp_keepalives_idle', '4'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3')
) AS s (name, value);

-- name: session
SELECT set_config('idle_session_timeout', %(silence)s::text || 's', false);

-- name: holders_of_place
-- The session that holds the advisory lock with this key.
WITH place AS (
    SELECT hashtextextended(%(purpose)s || ' ' || current_schema() || '/' || %(name)s, 0) AS key
)
SELECT pid FROM pg_locks, place
WHERE locktype = 'advisory' AND granted AND objsubid = 1
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND classid::bigint = (key >> 32) & 4294967295 AND objid::bigint = key & 4294967295

-- name: holders_of_head
-- Writers of this installation in a transaction that has touched the head. One that waits for the head's row is not
-- waiting for its client.
SELECT l.pid FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'relation' AND l.granted AND l.relation = 'head'::regclass
AND l.mode IN ('RowShareLock', 'RowExclusiveLock') AND a.application_name = 'tallystick writer'

-- name: holders_of_rebuilt
-- Sessions that rebuild and hold what others that rebuild wait for.
SELECT DISTINCT h.pid FROM pg_stat_activity AS w, unnest(pg_blocking_pids(w.pid)) AS blocking (pid)
JOIN pg_stat_activity AS h USING (pid)
WHERE w.wait_event_type = 'Lock' AND w.datname = current_database() AND h.datname = w.datname
AND w.application_name IN ('tallystick filling', 'tallystick rebuild')
AND h.application_name IN ('tallystick filling', 'tallystick rebuild')

-- name: silent
-- The holders whose server process waits for the client to send something or to read an answer, and has done so since
-- the last statement began or ended.
SELECT a.pid, a.application_name, greatest(a.query_start, a.state_change)::text
FROM pg_stat_activity AS a JOIN (:holders) AS held USING (pid)
WHERE a.pid <> pg_backend_pid() AND a.wait_event_type = 'Client'
AND greatest(a.query_start, a.state_change) < clock_timestamp() - make_interval(secs => %(silence)s);

-- name: end
SELECT pg_terminate_backend(%(pid)s);
