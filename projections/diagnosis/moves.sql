-- name: moves
SELECT ledger, state, installation, changed_at FROM ledger_moves;

-- name: stopped
SELECT ledger, state, installation, changed_at FROM ledger_moves WHERE ledger = %(ledger)s AND state = 'frozen';

-- name: frozen
SELECT ledger, installation, changed_at FROM ledger_moves
WHERE state = 'frozen' AND changed_at <= %(before)s
AND (%(granted)s::text[] IS NULL OR ledger = ANY (%(granted)s::text[]))
ORDER BY changed_at, ledger LIMIT %(limit)s;
