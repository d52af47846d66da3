-- name: absent
SELECT state, installation FROM absent_ledgers WHERE ledger = %(ledger)s;

-- name: ranges
SELECT position, shown, recorded FROM position_ranges WHERE ledger = %(ledger)s ORDER BY position;
