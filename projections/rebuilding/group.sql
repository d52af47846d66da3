-- name: note
-- For an error that may pass, after which the rebuild is tried again.
UPDATE rebuilds SET last_error = %(error)s
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;

-- name: begin
UPDATE rebuilds SET state = %(moves)s::jsonb ->> state, started_at = coalesce(started_at, now())
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;

-- name: measured
UPDATE rebuilds AS r SET rate_events_per_second = seen.rate, measured_at = now()
FROM unnest(%(names)s::text[], %(versions)s::int[], %(rates)s::float8[]) AS seen(name, version, rate)
WHERE r.name = seen.name AND r.version = seen.version AND r.ended_at IS NULL;

-- name: unite
-- Once all parts are filled up to their common position, that becomes the position of the version.
WITH filled AS (
    DELETE FROM rebuild_parts WHERE name = %(name)s AND version = %(version)s AND NOT EXISTS (
        SELECT FROM rebuild_parts WHERE name = %(name)s AND version = %(version)s AND position < upto
    )
    RETURNING upto
)
UPDATE projection_versions SET position = (SELECT max(upto) FROM filled)
WHERE name = %(name)s AND version = %(version)s AND EXISTS (SELECT FROM filled);
