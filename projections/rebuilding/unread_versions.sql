-- name: retired
-- Of one shape, or of all shapes if it is null.
SELECT version FROM projection_versions
WHERE name = %(name)s AND state = 'retired' AND (%(shape)s::int IS NULL OR shape = %(shape)s) ORDER BY version;

-- name: unread
-- Versions that this release does not read: replaced ones, and those of other releases' shapes.
SELECT v.name, v.version, v.shape, v.state, v.live, v.position FROM projection_versions AS v
JOIN unnest(%(names)s::text[], %(shapes)s::int[]) AS known(name, shape) ON known.name = v.name
WHERE v.state = 'retired' OR v.shape <> known.shape
ORDER BY v.name, v.version;

-- name: end_rebuild
UPDATE rebuilds SET state = %(moves)s::jsonb ->> state, ended_at = now(), controlled_by = %(actor)s
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;
