-- name: live
-- Always one row. If there is no such version, it has only the head, and which streams are missing.
-- A ledger that is elsewhere is told too: that of the first of the streams that must exist.
SELECT v.version, v.position, v.state, head.position, v.held_streams, ARRAY(:missing), absent.state, absent.installation
FROM head
LEFT JOIN absent_ledgers AS absent ON absent.ledger = split_part((%(existing)s::text[])[1], '/', 1)
LEFT JOIN projection_versions AS v ON v.name = %(name)s AND v.shape = %(shape)s AND v.live;

-- name: live_of_older
-- The live version of the newest of some shapes.
SELECT version, position, held_streams FROM projection_versions
WHERE name = %(name)s AND shape = ANY (%(shapes)s::int[]) AND live AND state <> 'rebuilding'
ORDER BY shape DESC LIMIT 1;

-- name: missing
-- Those of some streams that have no events, in the order given. A sub-select in the place of a value is not planned as
-- a join, which before the journal's first ANALYZE would read the whole of it.
SELECT stream FROM unnest(%(existing)s::text[]) WITH ORDINALITY AS required (stream, number)
WHERE (SELECT 1 FROM events WHERE in_stream(originator_id, stream) AND originator_version = 1) IS NULL
ORDER BY number;

-- name: lacking
-- A letter concerns an account if it belongs to the account's own stream, or if its event names the account.
WITH letters AS (
    SELECT id, position, stream = %(account)s::text OR %(account)s::text = ANY(accounts) AS concerns FROM dead_letters
    WHERE projection = %(name)s AND projection_version = %(version)s AND state = 'open'
),
held AS (SELECT id, position FROM letters WHERE concerns ORDER BY position LIMIT 1)
SELECT count(*), min(position), (SELECT id FROM held), (SELECT position FROM held) FROM letters;
