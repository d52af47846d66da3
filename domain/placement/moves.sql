-- name: find
SELECT state, installation, copied FROM ledger_moves WHERE ledger = %(ledger)s;

-- name: keep
INSERT INTO ledger_moves (ledger, state, installation, copied)
VALUES (%(ledger)s, %(state)s, %(installation)s, %(copied)s)
ON CONFLICT (ledger) DO UPDATE SET
    state = excluded.state, installation = excluded.installation, copied = excluded.copied,
    changed_at = clock_timestamp();

-- name: forget
-- The ledger stays where it is: as one that arrived here, or as one that never moved.
WITH arrived AS (
    UPDATE ledger_moves SET state = 'here', changed_at = clock_timestamp()
    WHERE ledger = %(ledger)s AND EXISTS (SELECT FROM position_ranges WHERE ledger = %(ledger)s)
    RETURNING ledger
)
DELETE FROM ledger_moves WHERE ledger = %(ledger)s AND NOT EXISTS (SELECT FROM arrived);

-- name: try_lock
-- One program at a time moves a ledger from here. Its session holds the place until it ends.
SELECT pg_try_advisory_lock(hashtextextended('tallystick place ' || current_schema() || ' ' || %(ledger)s, 0));

-- name: older_writers
-- The writers of the service whose sessions do not hold the lock that says that they know of moves. Those of all schemas
-- of this database: nothing tells which schema a session of an older release writes to.
SELECT count(*) FROM pg_stat_activity AS session
WHERE datname = current_database() AND application_name = 'tallystick writer' AND NOT EXISTS (
    SELECT FROM pg_locks AS lock
    WHERE lock.pid = session.pid AND locktype = 'advisory' AND granted AND mode = 'ShareLock' AND objsubid = 1
    AND classid::bigint = (hashtextextended('tallystick fences', 0) >> 32) & 4294967295
    AND objid::bigint = hashtextextended('tallystick fences', 0) & 4294967295
);

-- name: clock
SELECT clock_timestamp();

-- name: head
SELECT position FROM head;
