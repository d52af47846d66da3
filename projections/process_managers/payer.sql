-- name: last_arrival
-- When a ledger that is here arrived last, null if none did.
SELECT max(changed_at) FROM ledger_moves WHERE state = 'here';
