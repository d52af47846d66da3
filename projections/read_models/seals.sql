-- name: create_tables
-- A tile has up to 256 hashes of 32 bytes. Hashes are random, so compressing them gains nothing.
CREATE TABLE seals_v:version (
    level smallint NOT NULL,
    number bigint NOT NULL,
    hashes bytea NOT NULL,
    PRIMARY KEY (level, number)
);
ALTER TABLE seals_v:version ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- name: create_indexes
-- The primary key is the only index needed.
SELECT;

-- name: edge
SELECT t.level, t.number, t.hashes
FROM unnest(%(levels)b::bigint[], %(numbers)b::bigint[]) AS e(level, number)
CROSS JOIN LATERAL (
    SELECT level, number, hashes FROM seals_v:version WHERE level = e.level AND number = e.number LIMIT 1
) AS t;

-- name: grow
UPDATE seals_v:version AS t SET hashes = c.hashes
FROM unnest(%(levels)b::bigint[], %(numbers)b::bigint[], %(hashes)b::bytea[]) AS c(level, number, hashes)
WHERE t.level = c.level AND t.number = c.number;

-- name: begin
-- Conflicts are not resolved: a tile that exists already contradicts the position.
INSERT INTO seals_v:version (level, number, hashes)
SELECT * FROM unnest(%(levels)b::bigint[], %(numbers)b::bigint[], %(hashes)b::bytea[]);

-- name: tile
SELECT hashes FROM seals_v:version WHERE level = %(level)s AND number = %(number)s;

-- name: standing
-- From the reader's snapshot: how large the tree is, and whether it may be trusted.
SELECT position, state FROM projection_versions WHERE name = 'seals' AND version = :version;
