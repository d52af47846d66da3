-- name: moves
SELECT ledger, state, changed_at FROM ledger_moves;
