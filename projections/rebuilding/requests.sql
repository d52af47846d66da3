-- name: lock
-- Serialises the requests on one projection, and the switch.
SELECT FROM projections WHERE name = %(name)s FOR NO KEY UPDATE;

-- name: columns
-- While there are parts, the progress is their average. The target is the position of the live version, or the head of
-- the journal for a version that is live itself because no other has its shape. The rate decays while nothing is
-- advanced, like the rate of a projection.
r.name, r.version, r.shape, r.state, r.reason, r.requested_by, r.requested_at, r.accept_difference, r.accepted_by,
r.controlled_by, r.control_reason, r.started_at, coalesce(parts.position, v.position, 0), coalesce(live.position, head.position),
r.rate_events_per_second * exp(
    -least(greatest(extract(epoch FROM now() - r.measured_at), 0), 100) / %(rate_seconds)s
)::double precision,
r.last_error, r.compared_version, r.compared_position, r.difference_expected, r.comparison::text, r.ended_at;

-- name: of_versions
-- The unended rebuilds of the given shapes. Where a version is given: that rebuild alone, ended or not, of any shape.
SELECT :columns
FROM rebuilds AS r
JOIN unnest(%(names)s::text[], %(shapes)s::int[], %(versions)s::int[]) AS known(name, shape, version) ON known.name = r.name
CROSS JOIN head
LEFT JOIN projection_versions AS v ON v.name = r.name AND v.version = r.version
LEFT JOIN projection_versions AS live
ON live.name = r.name AND live.shape = r.shape AND live.live AND live.version <> r.version
CROSS JOIN LATERAL (
    SELECT floor(avg(position))::bigint AS position FROM rebuild_parts WHERE name = r.name AND version = r.version
) AS parts
WHERE CASE WHEN known.version IS NULL THEN r.shape = known.shape AND r.ended_at IS NULL
    ELSE r.version = known.version END
ORDER BY r.name;

-- name: accept
UPDATE rebuilds SET
    accept_difference = %(accept_difference)s, accepted_by = %(actor)s, state = %(moves)s::jsonb ->> state
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;

-- name: control
-- What is in the wanted state already keeps the name and the reason of who brought it there.
UPDATE rebuilds SET
    state = %(moves)s::jsonb ->> state, last_error = NULL, controlled_by = %(actor)s, control_reason = %(reason)s
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ->> state <> state;

-- name: end
UPDATE rebuilds SET
    state = %(moves)s::jsonb ->> state, ended_at = now(), controlled_by = %(actor)s, control_reason = %(reason)s
WHERE name = %(name)s AND version = %(version)s AND %(moves)s::jsonb ? state;

-- name: retire
-- Fences the processes that fill it. The parts are locked before the version, the order in which they are advanced and
-- united: counting the parts forces that order.
WITH parts AS (
    DELETE FROM rebuild_parts WHERE name = %(name)s AND version = %(version)s RETURNING number
)
UPDATE projection_versions SET state = 'retired', live = false
WHERE name = %(name)s AND version = %(version)s AND (SELECT count(*) FROM parts) >= 0;

-- name: cancelled
SELECT v.name, v.version FROM projection_versions AS v
JOIN rebuilds AS r ON r.name = v.name AND r.version = v.version AND r.state = 'cancelled';
