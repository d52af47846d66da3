-- name: ranges
SELECT position, shown, recorded FROM position_ranges WHERE ledger = %(ledger)s ORDER BY position;
