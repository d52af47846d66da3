-- name: rows
-- What a run of a workload has appended, to be appended once more by the yardstick.
SELECT originator_id, originator_version, topic, state, notification_id FROM events
WHERE notification_id > %(after)s AND notification_id <= %(upto)s ORDER BY notification_id;

-- name: copy_of_events
-- With both indexes and the settings of the journal's own table; nothing else refers to it.
CREATE TABLE {copy}.events (LIKE {journal}.events INCLUDING ALL)
WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);

-- name: append
-- A yardstick does not change with what it measures: this is not the statement of the journal.
INSERT INTO events (originator_id, originator_version, topic, state, notification_id)
SELECT * FROM unnest(%b::text[], %b::bigint[], %b::text[], %b::bytea[], %b::bigint[]);

-- name: totals
-- From the events of accounts, not those of transactions: what each account was told must sum up to what the
-- transactions moved.
SELECT
    count(*) FILTER (WHERE topic = 'transaction.posted') AS transactions,
    coalesce(sum((decoded.event -> 'data' ->> 'debits')::numeric), 0) AS debits,
    coalesce(sum((decoded.event -> 'data' ->> 'credits')::numeric), 0) AS credits
FROM events
CROSS JOIN LATERAL (
    SELECT CASE WHEN topic = 'account.entries_posted' THEN convert_from(state, 'UTF8')::jsonb END AS event
    OFFSET 0
) AS decoded;

-- name: settings
-- Those that decide what a commit costs, as the server has them.
SELECT name, current_setting(name) FROM pg_settings
WHERE name IN (
    'fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'wal_sync_method', 'wal_compression',
    'wal_buffers', 'max_wal_size', 'checkpoint_timeout', 'shared_buffers', 'data_checksums', 'jit', 'autovacuum',
    'server_version'
)
ORDER BY name;
