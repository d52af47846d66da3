-- name: entries
-- What the map says, but for ledgers that may still be about to be opened.
SELECT installation, array_agg(ledger ORDER BY ledger) FROM placements
WHERE placed_at < clock_timestamp() - %(seconds)s * interval '1 s' GROUP BY installation ORDER BY installation;

-- name: missing
SELECT name FROM unnest(%(ledgers)s::text[]) AS name
WHERE NOT EXISTS (SELECT FROM stored_events WHERE in_stream(originator_id, name || '/ledger')) ORDER BY name;

-- name: left
-- Which of these ledgers have left from here, and for where.
SELECT ledger, installation FROM ledger_moves WHERE state = 'left' AND ledger = ANY(%(ledgers)s::text[]);
