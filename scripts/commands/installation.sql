-- name: ledgers
-- By an index of these events alone. A ledger is opened once.
SELECT split_part(originator_id, '/', 1) FROM events WHERE topic = 'ledger.opened' ORDER BY 1;
