-- name: set
-- Includes the versions that are live for other releases. A rebuild is paused and resumed by a control of its own.
UPDATE projection_versions AS v SET
    state = %(state)s, last_error = CASE %(state)s WHEN 'running' THEN NULL ELSE v.last_error END
FROM (
    SELECT name, version, state FROM projection_versions
    WHERE name = %(name)s AND state = ANY(%(from)s) ORDER BY version FOR UPDATE
) AS former
WHERE v.name = former.name AND v.version = former.version
RETURNING v.version, v.position, former.state;

-- name: announce
-- Without a position: those who follow positions must read the state again.
SELECT pg_notify(current_schema() || '_projections', %(name)s || ':');

-- name: record
INSERT INTO projection_controls (name, version, position, former_state, state, actor, reason, correlation_id)
VALUES (%(name)s, %(version)s, %(position)s, %(former)s, %(state)s, %(actor)s, %(reason)s, %(correlation_id)s);

-- name: newest
-- The newest control of each projection. Operators make few, so all of them may be looked through.
SELECT DISTINCT ON (name) name, state, actor, reason, controlled_at, correlation_id
FROM projection_controls ORDER BY name, id DESC;
