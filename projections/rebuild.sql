-- name: session
-- A rebuild interrupted by a crash of the server loses some of its last batches, whose positions are lost with them.
SET synchronous_commit = off;

-- name: durable
SET LOCAL synchronous_commit = on;

-- name: unfinished
SELECT version, position, last_error FROM projection_versions
WHERE name = %(name)s AND shape = %(shape)s AND state = 'rebuilding' AND NOT live ORDER BY version;

-- name: live
SELECT version, position, state FROM projection_versions
WHERE name = %(name)s AND shape = %(shape)s AND live;

-- name: position
SELECT position FROM projection_versions WHERE name = %(name)s AND version = %(version)s;

-- name: lock_version
-- The live version cannot be advanced while this is held; it can be read.
SELECT FROM projection_versions WHERE name = %(name)s AND version = %(version)s FOR UPDATE;

-- name: checksum
-- In no order: the sum of a hash of each row, all columns as text. Equal rows in two tables have equal sums.
SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {table} AS t;

-- name: differing
(
    SELECT 'only in the live version', row FROM (
        SELECT t::text AS row FROM {live} AS t EXCEPT ALL SELECT t::text FROM {rebuilt} AS t
    ) AS missing ORDER BY row LIMIT 3
)
UNION ALL
(
    SELECT 'only in the rebuilt version', row FROM (
        SELECT t::text AS row FROM {rebuilt} AS t EXCEPT ALL SELECT t::text FROM {live} AS t
    ) AS added ORDER BY row LIMIT 3
);

-- name: refuse
UPDATE projection_versions SET last_error = %(comparison)s WHERE name = %(name)s AND version = %(version)s;

-- name: retire
UPDATE projection_versions SET state = 'retired', live = false WHERE name = %(name)s AND version = %(replaced)s;

-- name: promote
UPDATE projection_versions SET state = %(state)s, live = true, runner = NULL, last_error = NULL
WHERE name = %(name)s AND version = %(version)s;

-- name: switch_older
-- For releases that know of one live version only.
UPDATE projections SET live_version = %(version)s WHERE name = %(name)s AND live_version = %(replaced)s;

-- name: record_switch
INSERT INTO projection_switches (name, version, replaced_version, position, comparison, reason)
VALUES (%(name)s, %(version)s, %(replaced)s, %(position)s, %(comparison)s, %(reason)s);
