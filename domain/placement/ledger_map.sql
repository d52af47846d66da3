-- name: find
SELECT installation FROM placements WHERE ledger = %(ledger)s;

-- name: named
SELECT DISTINCT installation FROM placements;

-- name: unnamed
SELECT ledger, installation FROM placements WHERE installation <> ALL (%(names)s::text[]);

-- name: placed
SELECT ledger, installation FROM placements WHERE ledger = ANY (%(ledgers)s::text[]);

-- name: newest
SELECT ledger, installation FROM placements ORDER BY placed_at DESC LIMIT %(limit)s;

-- name: claim
-- One row, whoever came first. The update changes nothing: it makes the row of another claim visible, even one that was
-- committed while this one waited for it.
INSERT INTO placements (ledger, installation) VALUES (%(ledger)s, %(installation)s)
ON CONFLICT (ledger) DO UPDATE SET ledger = excluded.ledger
RETURNING installation;

-- name: is_kept
SELECT EXISTS (SELECT FROM placements);

-- name: enter
INSERT INTO placements (ledger, installation) SELECT unnest(%(ledgers)s::text[]), %(installation)s
ON CONFLICT (ledger) DO NOTHING;

-- name: elsewhere
-- Those of the ledgers that the map gives to another installation.
SELECT ledger, installation FROM placements
WHERE ledger = ANY (%(ledgers)s::text[]) AND installation <> %(installation)s
ORDER BY ledger;

-- name: held
-- The ledgers that an installation's journal has opened, but for those that have left or not yet arrived.
SELECT substring(originator_id FROM 1 FOR length(originator_id) - length('/ledger')) AS opened
FROM stored_events WHERE topic = 'ledger.opened'
EXCEPT SELECT ledger FROM absent_ledgers ORDER BY opened;

-- name: arrived
SELECT ledger FROM ledger_moves AS m
WHERE state NOT IN ('left', 'arriving') AND EXISTS (SELECT FROM position_ranges AS r WHERE r.ledger = m.ledger)
ORDER BY ledger;

-- name: take
INSERT INTO placements (ledger, installation) SELECT unnest(%(ledgers)s::text[]), %(installation)s
ON CONFLICT (ledger) DO UPDATE SET installation = excluded.installation, placed_at = clock_timestamp()
WHERE placements.installation <> excluded.installation;
