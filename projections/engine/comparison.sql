-- name: checksum
-- In no order: the sum of a hash of each row. Equal rows in two tables have equal sums. By the function with which the
-- server itself hashes rows, column by column: to make text of them takes twice the time.
SELECT count(*), coalesce(sum(hash_record_extended(t, 0)), 0)::text FROM {table} AS t;

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
