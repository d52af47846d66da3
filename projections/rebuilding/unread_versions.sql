-- name: retired
-- Of one shape; without it, of all.
SELECT version FROM projection_versions
WHERE name = %(name)s AND state = 'retired' AND (%(shape)s::int IS NULL OR shape = %(shape)s) ORDER BY version;

-- name: unread
-- What this release does not read: versions that were replaced, and those of the shapes of other releases.
SELECT v.name, v.version, v.shape, v.state, v.live, v.position FROM projection_versions AS v
JOIN unnest(%(names)s::text[], %(shapes)s::int[]) AS known(name, shape) ON known.name = v.name
WHERE v.state = 'retired' OR v.shape <> known.shape
ORDER BY v.name, v.version;

-- name: end_rebuild
UPDATE rebuilds SET state = 'cancelled', ended_at = now(), controlled_by = %(actor)s
WHERE name = %(name)s AND version = %(version)s AND ended_at IS NULL;
