-- name: begin
INSERT INTO console_sessions (token_sha256, key_id, ends_at)
VALUES (%(token_sha256)s, %(key_id)s, clock_timestamp() + make_interval(secs => %(seconds)s));

-- name: forget_ended
-- Nobody asks for an ended session again. Whoever signs in clears a few of them away.
DELETE FROM console_sessions WHERE token_sha256 IN (
    SELECT token_sha256 FROM console_sessions WHERE ends_at <= clock_timestamp() ORDER BY ends_at LIMIT 100
);

-- name: end
DELETE FROM console_sessions WHERE token_sha256 = %(token_sha256)s;

-- name: find
-- A session is worth as much as its key is now.
SELECT :columns FROM console_sessions AS s JOIN api_keys AS k ON k.id = s.key_id
WHERE s.token_sha256 = %(token_sha256)s AND s.ends_at > clock_timestamp()
AND k.revoked_at IS NULL AND (k.valid_until IS NULL OR k.valid_until > clock_timestamp());
