-- name: create_tables
-- The marks of events (event_marks.py), 8 bytes each, the highest first, in order. The slot names the positions and keys
-- whose marks a row has (event_index.py, Level). So writes are close together, at the end of the table and of its one
-- index; with the key first they would be all over it. Most rows have half a kilobyte. Only those of more than 8 KB are
-- stored elsewhere in parts: they have a key of nearly every event, or of an event that mentions thousands.
CREATE TABLE event_index_v:version (
    slot bigint NOT NULL PRIMARY KEY,
    marks bytea NOT NULL
) WITH (fillfactor = 90, toast_tuple_target = 8160, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE event_index_v:version ALTER COLUMN marks SET STORAGE EXTERNAL;

-- name: create_indexes
-- The primary key is the only index needed.
SELECT;

-- name: read
SELECT marks FROM event_index_v:version WHERE slot = %(slot)s;

-- name: take
-- In the order of slots, so that the marks are nearly in order.
WITH taken AS (
    DELETE FROM event_index_v:version WHERE slot >= %(first)s AND slot < %(first)s + %(rows)s::bigint RETURNING slot, marks
)
SELECT marks FROM taken ORDER BY slot;

-- name: write
INSERT INTO event_index_v:version AS i (slot, marks)
SELECT * FROM unnest(%(slots)b::bigint[], %(marks)b::bytea[])
ON CONFLICT (slot) DO UPDATE SET marks = excluded.marks;

-- name: position
SELECT position FROM projection_versions WHERE name = 'event_index' AND version = :version;

-- name: find
-- LATERAL with a LIMIT, which is the most there can be, forces one descent of the index for each slot, whatever the
-- statistics.
SELECT found.slot, found.marks FROM unnest(%(slots)b::bigint[]) AS wanted (slot)
CROSS JOIN LATERAL (SELECT slot, marks FROM event_index_v:version WHERE slot = wanted.slot LIMIT 1) AS found;
