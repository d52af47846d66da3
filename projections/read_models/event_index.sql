-- name: create_tables
-- Which events have a key: for each 256 neighbouring events, one byte for each event that has it. The slot names both
-- the key and the neighbours (event_index.py, _slots). From its highest bits on it holds: a stretch of 65,536
-- positions, a hash of the key, and the number of the 256 neighbours within the stretch. So writes are close together, at
-- the end of the table and of its one index; with the key first they would be all over it. A search for a key looks
-- into each stretch.
CREATE TABLE event_index_v:version (
    slot bigint NOT NULL PRIMARY KEY,
    offsets bytea NOT NULL
) WITH (fillfactor = 90, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE event_index_v:version ALTER COLUMN offsets SET STORAGE PLAIN;

-- name: create_indexes
-- The primary key is the only index needed.
SELECT;

-- name: add
COPY event_index_v:version (slot, offsets) FROM STDIN (FORMAT BINARY);

-- name: extend
INSERT INTO event_index_v:version AS e (slot, offsets)
SELECT * FROM unnest(%(slots)b::bigint[], %(offsets)b::bytea[])
ON CONFLICT (slot) DO UPDATE SET offsets = e.offsets || excluded.offsets;

-- name: position
SELECT position FROM projection_versions WHERE name = 'event_index' AND version = :version;

-- name: find
-- In a range of stretches, the neighbours that have the first key. LATERAL with a LIMIT, which is the most there can
-- be, forces one descent of the index for each stretch, whatever the statistics.
SELECT lead.slot, lead.offsets:columns
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS stretch
CROSS JOIN LATERAL (
    SELECT slot, offsets FROM event_index_v:version
    WHERE slot >= (stretch << 44) + %(key_0)s::bigint AND slot < (stretch << 44) + %(key_0)s::bigint + 256
    ORDER BY slot LIMIT 256
) AS lead
:joins;

-- name: join
-- The offsets of the same neighbours for another key.
CROSS JOIN LATERAL (
    SELECT offsets FROM event_index_v:version
    WHERE slot = lead.slot - %(key_0)s::bigint + %(key_:number)s::bigint LIMIT 1
) AS other_:number
