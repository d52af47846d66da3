-- name: installation
SELECT id FROM installation;

-- name: newest
SELECT size, note FROM checkpoints ORDER BY number DESC LIMIT 1;

-- name: keep
INSERT INTO checkpoints (size, root, note) VALUES (%(size)s, %(root)s, %(note)s);

-- name: keys
SELECT public_key, seed FROM signing_keys ORDER BY number DESC;

-- name: add_key
INSERT INTO signing_keys (public_key, seed) VALUES (%(public_key)s, %(seed)s) ON CONFLICT (public_key) DO NOTHING;

-- name: halt
UPDATE projection_versions SET state = 'halted', last_error = %(reason)s
WHERE name = 'seals' AND version = %(version)s AND state <> 'halted';
