-- name: relations
-- A table's own size is with what is stored outside of its rows (TOAST), and without its indexes.
SELECT t.relname, r.relname, pg_table_size(r.oid)
FROM pg_class AS t
JOIN pg_class AS r ON r.oid = t.oid OR r.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = t.oid)
WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind = 'r';
