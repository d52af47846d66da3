-- name: whole_cursors
-- Every cursor is read to its end, so plans that return the first rows quickly and the last slowly are unsuitable.
SET LOCAL cursor_tuple_fraction = 1;

-- name: events
SELECT notification_id, originator_id, originator_version, topic, state FROM events
WHERE notification_id >= %(since)s AND notification_id <= %(until)s ORDER BY notification_id;

-- name: tree
-- The tree that this release reads. No row if it belongs to another release or is still being filled.
SELECT version, position FROM projection_versions
WHERE name = 'seals' AND shape = %(shape)s AND live AND state <> 'rebuilding';

-- name: leaves
-- The tiles with the hashes of leaves, in order.
SELECT number, hashes FROM seals_v:version WHERE level = 0 AND number >= %(first)s ORDER BY number;

-- name: checkpoint_within
SELECT size, note FROM checkpoints WHERE size <= %(size)s ORDER BY number DESC LIMIT 1;

-- name: shown
SELECT ledger, position, shown, recorded FROM position_ranges WHERE position <= %(until)s ORDER BY ledger, position;

-- name: of_topics
-- Of all ledgers, those that are here: one that has left is in the books of the installation where it is.
SELECT originator_id, originator_version, topic, state, notification_id FROM events
WHERE notification_id <= %(until)s AND topic = ANY(%(topics)s)
AND CASE WHEN %(ledger)s::text IS NULL
    THEN split_part(originator_id, '/', 1) NOT IN (SELECT ledger FROM absent_ledgers)
    ELSE split_part(originator_id, '/', 1) = %(ledger)s
END
ORDER BY notification_id;
