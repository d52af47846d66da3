-- name: create_tables
-- Which events have a key: of 256 neighbouring events, one byte for each that has it. The first column names the key and
-- the neighbours at once (event_index.py, _slot): from its highest bits on a stretch of 65,536 positions, a hash of the
-- key, and which 256 of the stretch. So what is written lies close together, at the end of the table and of its one
-- index; by the key first, it would be written all over. Who looks for a key looks into each stretch.
CREATE TABLE event_index_v:version (
    slot bigint NOT NULL PRIMARY KEY,
    offsets bytea NOT NULL
) WITH (fillfactor = 90, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE event_index_v:version ALTER COLUMN offsets SET STORAGE PLAIN;

-- name: create_indexes
-- The key is all that is needed.
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
-- Of some stretches, the neighbours that have the first key. LATERAL with a LIMIT, that of what there can be, forces one
-- descent of the index for each stretch, statistics or not.
SELECT lead.slot, lead.offsets:columns
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS stretch
CROSS JOIN LATERAL (
    SELECT slot, offsets FROM event_index_v:version
    WHERE slot >= (stretch << 44) + %(key_0)s::bigint AND slot < (stretch << 44) + %(key_0)s::bigint + 256
    ORDER BY slot LIMIT 256
) AS lead
:joins;

-- name: join
-- And those of the same neighbours that have another.
CROSS JOIN LATERAL (
    SELECT offsets FROM event_index_v:version
    WHERE slot = lead.slot - %(key_0)s::bigint + %(key_:number)s::bigint LIMIT 1
) AS other_:number
