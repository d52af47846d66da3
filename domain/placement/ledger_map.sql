-- name: find
SELECT installation FROM placements WHERE ledger = %(ledger)s;

-- name: newest
SELECT ledger, installation FROM placements ORDER BY placed_at DESC LIMIT %(limit)s;

-- name: claim
-- One row, whoever came first. The update changes nothing: it makes the row of another claim visible, even one that was
-- committed while this one waited for it.
INSERT INTO placements (ledger, installation) VALUES (%(ledger)s, %(installation)s)
ON CONFLICT (ledger) DO UPDATE SET ledger = excluded.ledger
RETURNING installation;

-- name: move
UPDATE placements SET installation = %(installation)s, placed_at = clock_timestamp() WHERE ledger = %(ledger)s
RETURNING ledger;

-- name: enter
INSERT INTO placements (ledger, installation) SELECT unnest(%(ledgers)s::text[]), %(installation)s
ON CONFLICT (ledger) DO NOTHING;

-- name: elsewhere
-- Those of the ledgers that the map gives to another installation.
SELECT ledger, installation FROM placements
WHERE ledger = ANY (%(ledgers)s::text[]) AND installation <> %(installation)s
ORDER BY ledger;

-- name: held
-- The ledgers that an installation's journal has opened.
SELECT substring(originator_id FROM 1 FOR length(originator_id) - length('/ledger'))
FROM stored_events WHERE topic = 'ledger.opened' ORDER BY 1;
