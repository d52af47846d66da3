-- name: next
-- The events of a ledger within a window of positions, as they are stored. Streams of a ledger begin with its name and a
-- slash, and the character after the slash ends them.
SELECT originator_id, originator_version, topic, state, notification_id, shares FROM stored_events
WHERE notification_id > %(after)s AND notification_id <= %(until)s
AND originator_id >= %(ledger)s::text || '/' AND originator_id < %(ledger)s::text || '0'
ORDER BY notification_id LIMIT %(limit)s;

-- name: last_of_ledger
SELECT originator_id, originator_version, topic, state, notification_id, shares, base FROM abbreviated_events
WHERE in_stream(originator_id, %(stream)s) ORDER BY originator_version DESC LIMIT 1;

-- name: note_ranges
INSERT INTO position_ranges (ledger, position, shown, recorded)
SELECT %(ledger)s, * FROM unnest(%(positions)b::bigint[], %(shown)b::bigint[], %(recorded)b::bigint[]);

-- name: note_copied
INSERT INTO copied_events (first, last, ledger, recorded_at)
VALUES (%(first)s, %(last)s, %(ledger)s, %(recorded_at)s);
