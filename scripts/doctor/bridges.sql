-- name: live
-- The live version of a read model and its position. None while it is being filled.
SELECT version, position FROM projection_versions WHERE name = %(name)s AND live AND state <> 'rebuilding';

-- name: accounts
SELECT ledger || '/accounts/' || address FROM balances_v:version WHERE address LIKE 'bridges:%%';

-- name: accounts_opened
-- The accounts of bridges that the read model does not show yet.
SELECT originator_id FROM events
WHERE notification_id > %(position)s AND originator_version = 1 AND originator_id LIKE '%%/accounts/bridges:%%';

-- name: unended
SELECT ledger || '/payouts/' || id FROM payouts_v:version
WHERE state NOT IN ('completed', 'failed', 'rejected') AND provider = 'bridge';

-- name: payouts_changed
SELECT DISTINCT originator_id FROM events WHERE notification_id > %(position)s AND topic LIKE 'payout.%%';
