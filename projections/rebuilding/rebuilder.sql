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

-- name: largest_first
-- By what is in their tables, of which the indexes are still to be made, and which are to be read through.
SELECT v.name FROM projection_versions AS v
JOIN unnest(%(names)s::text[], %(versions)s::int[]) AS filled(name, version) USING (name, version)
ORDER BY (SELECT sum(pg_relation_size(to_regclass(t))) FROM unnest(v.tables) AS t) DESC NULLS LAST, v.name;
