-- name: try_lock
SELECT pg_try_advisory_lock(hashtextextended('tallystick streams ' || current_schema(), 0));

-- name: by_names
SELECT FROM pg_constraint WHERE conrelid = 'stored_events'::regclass AND conname = 'events_pkey';

-- name: unfinished
-- What a process that was killed has left: PostgreSQL keeps it up to date and uses it for nothing.
SELECT indexrelid::regclass::text FROM pg_index
WHERE indrelid = 'stored_events'::regclass AND NOT (indisvalid AND indisready)
AND indexrelid IN (to_regclass('events_stream'), to_regclass('events_ledgers'));

-- name: drop_unfinished
DROP INDEX CONCURRENTLY :index;

-- name: index_streams
-- Outside of a transaction: writers go on meanwhile.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS events_stream
ON stored_events (stream_key(originator_id), originator_version);

-- name: index_ledgers
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_ledgers ON stored_events (originator_id) WHERE topic = 'ledger.opened';

-- name: analyze
ANALYZE stored_events;

-- name: drop_names
ALTER TABLE stored_events DROP CONSTRAINT events_pkey;
