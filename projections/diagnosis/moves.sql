-- name: moves
SELECT ledger, state, installation, changed_at FROM ledger_moves;

-- name: frozen
SELECT ledger, installation, changed_at FROM ledger_moves
WHERE state = 'frozen' AND changed_at <= %(before)s
AND (%(granted)s::text[] IS NULL OR ledger = ANY (%(granted)s::text[]))
ORDER BY changed_at, ledger LIMIT %(limit)s;
