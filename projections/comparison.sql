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
