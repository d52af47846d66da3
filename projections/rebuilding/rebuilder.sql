-- name: note
-- For an error that may pass, after which the rebuild is tried again.
UPDATE rebuilds SET last_error = %(error)s
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;

-- name: begin
UPDATE rebuilds SET state = %(moves)s::jsonb ->> state, started_at = coalesce(started_at, now())
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;

-- name: largest_first
-- By the size of the tables: their indexes are still to be created, and the comparison reads them in full.
SELECT v.name FROM projection_versions AS v
JOIN unnest(%(names)s::text[], %(versions)s::int[]) AS filled(name, version) USING (name, version)
ORDER BY (SELECT sum(pg_relation_size(to_regclass(t))) FROM unnest(v.tables) AS t) DESC NULLS LAST, v.name;
