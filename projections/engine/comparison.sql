-- name: checksum
-- The sum of a hash of each row, which does not depend on their order: equal rows in two tables have equal sums. The
-- server's own function hashes the rows column by column; converting them to text would take twice the time.
SELECT count(*), coalesce(sum(hash_record_extended(t, 0)), 0)::text FROM :table AS t;

-- name: differing
(
    SELECT 'only in the live version', row FROM (
        SELECT t::text AS row FROM :live AS t EXCEPT ALL SELECT t::text FROM :rebuilt AS t
    ) AS missing ORDER BY row LIMIT 3
)
UNION ALL
(
    SELECT 'only in the rebuilt version', row FROM (
        SELECT t::text AS row FROM :rebuilt AS t EXCEPT ALL SELECT t::text FROM :live AS t
    ) AS added ORDER BY row LIMIT 3
);
