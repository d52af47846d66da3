-- name: ranges
SELECT position, shown FROM position_ranges WHERE ledger = %(ledger)s ORDER BY position;
