-- name: release
SELECT pg_advisory_unlock(hashtextextended(%(purpose)s || ' ' || current_schema() || '/' || %(name)s, 0));

-- name: note
-- What may pass, and is tried again.
UPDATE rebuilds SET last_error = %(error)s
WHERE name = %(name)s AND version = %(version)s AND state IN ('requested', 'filling', 'comparing');

-- name: begin
-- What was interrupted, by whatever, goes on with the state that it was in.
UPDATE rebuilds SET
    state = CASE state WHEN 'requested' THEN 'filling' ELSE state END, started_at = coalesce(started_at, now())
WHERE name = %(name)s AND version = %(version)s AND state IN ('requested', 'filling', 'comparing');
