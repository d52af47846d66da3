-- name: whole_cursors
-- All rows of every cursor are read, so plans that are quick to the first rows and slow to the last are no good.
SET LOCAL cursor_tuple_fraction = 1;

-- name: events
SELECT notification_id, originator_id, originator_version, topic, state FROM events
WHERE notification_id >= %(since)s AND notification_id <= %(until)s ORDER BY notification_id;

-- name: tree
-- The tree that is read, unless it is one of another release or still being filled.
SELECT version, position FROM projection_versions
WHERE name = 'seals' AND shape = %(shape)s AND live AND state <> 'rebuilding';

-- name: leaves
-- The tiles that have the hashes of leaves, in their order.
SELECT number, hashes FROM seals_v:version WHERE level = 0 AND number >= %(first)s ORDER BY number;

-- name: checkpoint_within
SELECT size, note FROM checkpoints WHERE size <= %(size)s ORDER BY number DESC LIMIT 1;

-- name: of_topics
SELECT originator_id, originator_version, topic, state, notification_id FROM events
WHERE notification_id <= %(until)s AND topic = ANY(%(topics)s)
AND (%(ledger)s::text IS NULL OR split_part(originator_id, '/', 1) = %(ledger)s)
ORDER BY notification_id;
