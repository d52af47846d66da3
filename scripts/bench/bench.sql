-- name: rows
-- The events a run has appended, for the yardstick to append once more.
SELECT originator_id, originator_version, topic, state, notification_id, shares FROM stored_events
WHERE notification_id > %(after)s AND notification_id <= %(upto)s ORDER BY notification_id;

-- name: copy_of_events
-- With the indexes and the settings of the journal's table. Nothing else refers to this table.
CREATE TABLE {copy}.events (LIKE {journal}.stored_events INCLUDING ALL)
WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);

-- name: append
-- A yardstick must not change with what it measures, so this is not the journal's own statement.
INSERT INTO events (originator_id, originator_version, topic, state, notification_id, shares)
SELECT * FROM unnest(%b::text[], %b::bigint[], %b::text[], %b::bytea[], %b::bigint[], %b::smallint[]);

-- name: totals
-- From events of accounts, not of transactions: the sums each account was told must equal what the transactions moved.
-- A hold that has ended leaves nothing pending.
SELECT
    count(*) FILTER (
        WHERE topic IN (
            'transaction.posted', 'transaction.held', 'transaction.settlement_posted', 'transaction.void_recorded'
        )
    ) AS transactions,
    count(*) FILTER (WHERE topic IN ('transaction.posted', 'transaction.settlement_posted')) AS movements,
    coalesce(sum((data ->> 'debits')::bigint) FILTER (WHERE is_posted), 0) AS debits,
    coalesce(sum((data ->> 'credits')::bigint) FILTER (WHERE is_posted), 0) AS credits,
    coalesce(sum(CASE topic
        WHEN 'account.entries_held' THEN (data ->> 'debits')::bigint + (data ->> 'credits')::bigint
        WHEN 'account.entries_released' THEN -(data ->> 'debits')::bigint - (data ->> 'credits')::bigint
        WHEN 'account.entries_settled' THEN -(data ->> 'held_debits')::bigint - (data ->> 'held_credits')::bigint
    END), 0) AS pending
FROM events
CROSS JOIN LATERAL (
    SELECT
        topic IN ('account.entries_posted', 'account.entries_settled') AS is_posted,
        CASE WHEN topic LIKE 'account.entries%' THEN convert_from(state, 'UTF8')::jsonb -> 'data' END AS data
    OFFSET 0
) AS decoded;

-- name: settings
-- The server's settings that decide what a commit costs.
SELECT name, current_setting(name) FROM pg_settings
WHERE name IN (
    'fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'wal_sync_method', 'wal_compression',
    'wal_buffers', 'max_wal_size', 'checkpoint_timeout', 'shared_buffers', 'data_checksums', 'jit', 'autovacuum',
    'server_version'
)
ORDER BY name;

-- name: transactions
-- By position, from one end of the journal, because only positions are indexed.
SELECT split_part(originator_id, '/', 3)
FROM events WHERE topic = 'transaction.posted' ORDER BY notification_id :order LIMIT %(limit)s;

-- name: sizes
-- The journal's table with its indexes and TOAST table, and the snapshots.
SELECT c.relname, pg_relation_size(c.oid) FROM pg_class AS c
WHERE c.oid = 'stored_events'::regclass
OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'stored_events'::regclass)
OR c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'stored_events'::regclass)
UNION ALL
SELECT 'snapshots', pg_total_relation_size('snapshots');
