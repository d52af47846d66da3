-- name: installation
SELECT id FROM installation;

-- name: newest
SELECT size, note FROM checkpoints ORDER BY number DESC LIMIT 1;

-- name: of_size
-- After a change of keys, the same size is signed again: the last one counts.
SELECT size, root, note, signed_at, number FROM checkpoints WHERE size = %(size)s ORDER BY number DESC LIMIT 1;

-- name: list
-- Planned again for each call with its values, so that null bounds cost nothing.
SELECT size, root, note, signed_at, number FROM checkpoints
WHERE (%(since)s::timestamptz IS NULL OR signed_at >= %(since)s)
AND (%(until)s::timestamptz IS NULL OR signed_at < %(until)s)
AND (%(after_time)s::timestamptz IS NULL OR (signed_at, number) :beyond (%(after_time)s, %(after_number)s::bigint))
ORDER BY signed_at :order, number :order LIMIT %(limit)s;

-- name: keep
INSERT INTO checkpoints (size, root, note) VALUES (%(size)s, %(root)s, %(note)s);

-- name: keys
SELECT public_key, seed FROM signing_keys ORDER BY number DESC;

-- name: add_key
INSERT INTO signing_keys (public_key, seed) VALUES (%(public_key)s, %(seed)s) ON CONFLICT (public_key) DO NOTHING;

-- name: halt
UPDATE projection_versions SET state = 'halted', last_error = %(reason)s
WHERE name = 'seals' AND version = %(version)s AND state <> 'halted';
