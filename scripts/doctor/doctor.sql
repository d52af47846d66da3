-- name: session
-- Read-only, whatever the rights of the login. No compilation, since each query runs once.
SET default_transaction_read_only = on; SET jit = off;

-- name: has_table
SELECT to_regclass(%(table)s) IS NOT NULL;

-- name: migrations
SELECT name FROM migrations ORDER BY name;

-- name: settings
SELECT name, setting FROM pg_settings WHERE name = ANY(%(names)s);

-- name: invalid_indexes
SELECT indexrelid::regclass::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE c.relnamespace = current_schema()::regnamespace AND NOT (indisvalid AND indisready);

-- name: has_index_by_names
SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass('stored_events') AND conname = 'events_pkey');

-- name: triggers
SELECT tgname, tgenabled, prosrc FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE tgrelid IN (to_regclass('stored_events'), to_regclass('head')) AND NOT tgisinternal;

-- name: rights
-- A superuser and an owner have all rights.
SELECT table_name, privilege FROM unnest(%(tables)s::text[], %(privileges)s::text[]) AS r(table_name, privilege)
WHERE has_table_privilege(%(role)s, to_regclass(table_name), privilege);

-- name: lacking_rights
-- Each table that is there and that the role may not use so, by its whole name; one that is not there, others see. Then
-- each function that it may not call, but for those of triggers, which nobody calls.
(
    SELECT format('%%I.%%I', nspname, relname), privilege
    FROM unnest(%(tables)s::text[], %(privileges)s::text[]) AS r(table_name, privilege)
    JOIN pg_class AS c ON c.oid = to_regclass(table_name) JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE NOT has_table_privilege(%(role)s, c.oid, privilege) ORDER BY relname, privilege DESC
)
UNION ALL
SELECT format('FUNCTION %%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)), 'EXECUTE'
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
WHERE n.oid = current_schema()::regnamespace AND prorettype <> 'trigger'::regtype
AND NOT has_function_privilege(%(role)s, p.oid, 'EXECUTE');

-- name: temporary_tables
-- The database if the role may create temporary tables in it, else null.
SELECT CASE WHEN has_database_privilege(%(role)s, current_database(), 'TEMPORARY') THEN quote_ident(current_database()) END;

-- name: unpinned_functions
SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE pronamespace = current_schema()::regnamespace AND prosqlbody IS NULL
    AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE starts_with(setting, 'search_path='));

-- name: facts
SELECT current_setting('server_version'), pg_database_size(current_database()),
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend');

-- name: head
SELECT position FROM head;

-- name: data_directory
-- Null if it is on another machine, or may not be seen.
SELECT CASE WHEN inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1'
    THEN (SELECT setting FROM pg_settings WHERE name = 'data_directory') END;

-- name: transactions
SELECT pid, coalesce(application_name, ''), coalesce(usename, ''), state = 'idle in transaction' AS idle,
    extract(epoch FROM clock_timestamp() - xact_start)::double precision,
    extract(epoch FROM clock_timestamp() - state_change)::double precision
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
AND xact_start IS NOT NULL AND state IS NOT NULL
ORDER BY xact_start;

-- name: prepared
SELECT gid, quote_literal(gid), owner, extract(epoch FROM clock_timestamp() - prepared)::double precision FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - %(seconds)s * interval '1 s';

-- name: inactive_slots
-- A standby writes no log of its own.
SELECT slot_name, quote_literal(slot_name), pg_size_pretty(pg_wal_lsn_diff(
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn
)) FROM pg_replication_slots
WHERE NOT active AND restart_lsn IS NOT NULL;

-- name: archive
-- A receiver of the log, such as pg_receivewal, replays nothing, so it reports no position of replay. A standby does. A
-- session that the login may not see has no state: it may be a receiver.
SELECT current_setting('archive_mode'), current_setting('archive_command'), current_setting('archive_library'),
    coalesce(current_setting('tallystick.embedded', true), '') = 'on', receivers, senders - receivers
FROM (
    SELECT count(*) AS senders, count(*) FILTER (
        WHERE r.state IS NULL OR r.state IN ('catchup', 'streaming') AND r.replay_lsn IS NULL
        AND s.slot_type IS DISTINCT FROM 'logical' AND r.application_name <> 'pg_basebackup'
    ) AS receivers
    FROM pg_stat_replication AS r LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid
) AS connected;

-- name: standbys
-- What follows the log and could be promoted, and how many of these a commit waits for. A session that the login may not
-- see has no state.
SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit'),
    count(*) FILTER (WHERE r.replay_lsn IS NOT NULL AND s.slot_type IS DISTINCT FROM 'logical'),
    count(*) FILTER (WHERE r.state IS NULL), count(*) FILTER (WHERE r.sync_state IN ('sync', 'quorum'))
FROM pg_stat_replication AS r LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid;

-- name: failing_archiver
SELECT failed_count, last_failed_wal, last_failed_time::timestamptz(0)::text, last_archived_time::timestamptz(0)::text
FROM pg_stat_archiver
WHERE last_failed_time > coalesce(last_archived_time, '-infinity');

-- name: transaction_age
SELECT greatest(age(datfrozenxid), mxid_age(datminmxid)) FROM pg_database WHERE datname = current_database();

-- name: never_analysed
SELECT relid::regclass::text, n_live_tup FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND n_live_tup >= %(rows)s AND last_analyze IS NULL AND last_autoanalyze IS NULL
ORDER BY n_live_tup DESC;

-- name: unnamed_installations
SELECT installation, count(*), min(ledger) FROM placements
WHERE installation <> ALL (%(names)s::text[]) GROUP BY installation ORDER BY installation;

-- name: frozen_ledgers
SELECT ledger, installation FROM ledger_moves
WHERE state = 'frozen' AND changed_at < clock_timestamp() - make_interval(secs => %(seconds)s) ORDER BY ledger;

-- name: clocks
SELECT extract(epoch FROM clock_timestamp())::double precision,
    CASE WHEN position > 0 THEN extract(epoch FROM recorded_at::timestamptz - clock_timestamp())::double precision
    ELSE 0 END
FROM head;

-- name: versions
-- The lag is the age of the oldest event that is not projected yet. A version stands still since it was last advanced,
-- or since the first event that it lacks was recorded, whichever is later.
SELECT v.name, v.version, v.shape, v.state, v.live, v.position, head.position, v.last_error,
    CASE WHEN head.position > v.position THEN extract(
        epoch FROM clock_timestamp() - coalesce(next.recorded_at, v.advanced_at)
    ) ELSE 0 END::double precision,
    greatest(v.advanced_at, next.recorded_at), v.failing_since,
    extract(epoch FROM clock_timestamp() - v.failed_at)::double precision
FROM projection_versions AS v
CROSS JOIN head
LEFT JOIN LATERAL (
    SELECT coalesce(copied_at(notification_id), decoded(state) ->> 'recorded_at')::timestamptz AS recorded_at
    FROM events WHERE notification_id = v.position + 1
) AS next ON true
ORDER BY v.name, v.version;

-- name: next_event
-- The first event after a position that a projection reads, found by the index of positions.
SELECT notification_id, originator_id, topic FROM events
WHERE notification_id > %(position)s
AND (%(topics)s::text[] IS NULL OR topic = ANY(%(topics)s) OR originator_version > 1 AND topic = ANY(%(continuing)s))
ORDER BY notification_id LIMIT 1;

-- name: has_projector
-- Whether any projector process is connected. One that fails has no connection for its projection meanwhile. Those of
-- older releases have a connection for arrivals, too.
SELECT EXISTS (
    SELECT FROM pg_stat_activity WHERE datname = current_database()
    AND application_name IN ('tallystick rebuilds', 'tallystick arrivals')
);

-- name: missing_tables
SELECT name FROM unnest(%(names)s::text[]) AS name WHERE to_regclass(name) IS NULL;

-- name: refused_rebuilds
SELECT name, version, concat_ws(': ', state, last_error, comparison::text) FROM rebuilds
WHERE state IN ('differing', 'failed') AND ended_at IS NULL ORDER BY name;

-- name: open_letters
SELECT projection, stream, position, message, id::text FROM dead_letters WHERE state = 'open'
ORDER BY first_failed_at LIMIT 1000;

-- name: unbalanced_accounts
SELECT ledger, asset, sum(posted_debits - posted_credits), sum(pending_debits - pending_credits)
FROM balances_v:version GROUP BY ledger, asset
HAVING sum(posted_debits - posted_credits) <> 0 OR sum(pending_debits - pending_credits) <> 0;

-- name: unbalanced_turnovers
SELECT ledger, asset, clock, sum(debits - credits) FROM turnovers_v:version
WHERE account = '' AND span = 'day' GROUP BY ledger, asset, clock HAVING sum(debits - credits) <> 0;

-- name: extent
-- Reads only the index.
SELECT head.position, e.events, e.last FROM head
CROSS JOIN (SELECT count(*) AS events, coalesce(max(notification_id), 0) AS last FROM events) AS e;

-- name: position_gaps
SELECT before + 1, position - 1 FROM (
    SELECT notification_id AS position, lag(notification_id, 1, 0::bigint) OVER (ORDER BY notification_id) AS before
    FROM events
) AS pairs WHERE position > before + 1 ORDER BY position LIMIT 100;

-- name: version_gaps
-- Versions begin at 1, and none occurs twice. Every event is read once, since no index has the streams in the order of
-- their names.
SELECT originator_id, count(*), max(originator_version) FROM events
GROUP BY originator_id HAVING max(originator_version) <> count(*) LIMIT 100;

-- name: overdue
-- Joined with the event that says what is due, which is the last of its stream while the work is still to be done.
SELECT d.ledger || '/transactions/' || d.id, last.topic,
    extract(epoch FROM clock_timestamp() - d.due_at)::double precision
FROM due_v:version AS d
CROSS JOIN LATERAL (
    SELECT topic FROM events WHERE in_stream(originator_id, d.ledger || '/transactions/' || d.id)
    ORDER BY originator_version DESC LIMIT 1
) AS last
WHERE d.due_at < clock_timestamp() - %(seconds)s * interval '1 s'
AND last.topic IN ('transaction.accepted', 'transaction.held')
ORDER BY d.due_at LIMIT 1000;

-- name: witnessed
-- The newest event of a log's stream says whether it is in dispute.
SELECT l.name, extract(epoch FROM clock_timestamp() - coalesce(l.seen_at, l.added_at))::double precision,
    l.last_error, coalesce(newest.topic = 'checkpoint.disputed', false)
FROM witnessed_logs AS l
LEFT JOIN LATERAL (
    SELECT topic FROM events WHERE in_stream(originator_id, '-/witnesses/' || l.name)
    ORDER BY originator_version DESC LIMIT 1
) AS newest ON true
WHERE l.is_watched OR newest.topic = 'checkpoint.disputed' ORDER BY l.name;

-- name: disabled_webhooks
SELECT id, url, disabled_reason FROM webhooks WHERE state = 'disabled' ORDER BY created_at;

-- name: failed_deliveries
SELECT webhook_id, count(*), min(position), min(reason) FROM deliveries WHERE state = 'failed'
GROUP BY webhook_id ORDER BY webhook_id;

-- name: late_deliveries
-- For each webhook its oldest due delivery, by its index.
SELECT w.id, extract(epoch FROM clock_timestamp() - next.due_at)::double precision
FROM webhooks AS w CROSS JOIN LATERAL (
    SELECT due_at FROM deliveries WHERE webhook_id = w.id AND due_at IS NOT NULL ORDER BY due_at LIMIT 1
) AS next
WHERE w.state = 'enabled' AND next.due_at < clock_timestamp() - make_interval(secs => %(lag_seconds)s)
ORDER BY next.due_at;

-- name: has_keys
SELECT EXISTS (SELECT FROM valid_api_keys);

-- name: login
SELECT session_user::text;
