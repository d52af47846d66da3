-- name: lock_head
-- The holder of this row's lock is the writer. A service that runs already waits, then continues after the import.
SELECT position FROM head FOR UPDATE;

-- name: has_events
SELECT EXISTS (SELECT FROM events);

-- name: copy
COPY stored_events (originator_id, originator_version, topic, state, notification_id, shares) FROM STDIN (FORMAT BINARY);

-- name: move_head
WITH moved AS (UPDATE head SET position = %(position)s, recorded_at = %(recorded_at)s)
SELECT pg_notify(%(channel)s, %(position)s::text);

-- name: keep_move
INSERT INTO ledger_moves (ledger, state, installation, copied)
VALUES (%(ledger)s, %(state)s, %(installation)s, %(copied)s);

-- name: keep_shown
INSERT INTO position_ranges (ledger, position, shown, recorded)
SELECT %(ledger)s, * FROM unnest(%(positions)s::bigint[], %(shown)s::bigint[], %(recorded)s::bigint[]);

-- name: keep_copies
INSERT INTO copied_events (first, last, ledger, recorded_at)
SELECT * FROM unnest(%(first)s::bigint[], %(last)s::bigint[], %(ledgers)s::text[], %(recorded_at)s::text[]);

-- name: witnessed
-- Streams are not found by their beginnings, so the names of witnessed logs are noted beside them.
INSERT INTO witnessed_logs (name, is_watched) SELECT name, false FROM unnest(%(names)s::text[]) AS name
ON CONFLICT (name) DO NOTHING;
