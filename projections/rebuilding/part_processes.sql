-- name: divided
SELECT count(*), max(upto) FROM rebuild_parts WHERE name = %(name)s AND version = %(version)s;

-- name: divide
-- Divides only an empty version, and only once.
INSERT INTO rebuild_parts (name, version, number, parts, upto)
SELECT v.name, v.version, number, %(parts)s, %(upto)s
FROM projection_versions AS v CROSS JOIN generate_series(0, %(parts)s - 1) AS number
WHERE v.name = %(name)s AND v.version = %(version)s AND v.state = 'rebuilding' AND v.position = 0
ON CONFLICT DO NOTHING;

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

-- name: measured
UPDATE rebuilds SET rate_events_per_second = %(rate)s, measured_at = now()
WHERE name = %(name)s AND version = %(version)s AND ended_at IS NULL;
