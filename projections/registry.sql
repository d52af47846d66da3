-- name: lock_installation
-- Serialises installations, since any number of processes may install at once.
SELECT pg_advisory_xact_lock(hashtextextended('tallystick install ' || current_schema(), 0));

-- name: register
-- `live_version` is for releases that know only one live version.
INSERT INTO projections (name, live_version) VALUES (%(name)s, 1) ON CONFLICT DO NOTHING;

-- name: live
SELECT version FROM projection_versions WHERE name = %(name)s AND shape = %(shape)s AND live;

-- name: are_live
SELECT count(*) FROM projection_versions AS v
JOIN unnest(%(names)s::text[], %(shapes)s::int[]) AS known(name, shape) USING (name, shape) WHERE v.live;

-- name: head
SELECT position FROM head;

-- name: next_version
-- A number that no version ever had, dropped ones included: a reader that was overtaken by a switchover and a drop must
-- not find other tables under the names it knows.
SELECT 1 + greatest(
    (SELECT coalesce(max(version), 0) FROM projection_versions WHERE name = %(name)s),
    (SELECT coalesce(max(version), 0) FROM rebuilds WHERE name = %(name)s)
);

-- name: add_version
INSERT INTO projection_versions (name, version, state, shape, live, tables)
VALUES (%(name)s, %(version)s, %(state)s, %(shape)s, %(live)s, %(tables)s);

-- name: add_rebuild
INSERT INTO rebuilds (name, version, shape, requested_by, reason, accept_difference, accepted_by)
VALUES (
    %(name)s, %(version)s, %(shape)s, %(actor)s, %(reason)s, %(accept_difference)s,
    CASE WHEN %(accept_difference)s::text IS NOT NULL THEN %(actor)s END
);

-- name: try_again
UPDATE rebuilds SET state = 'requested', last_error = NULL
WHERE name = %(name)s AND version = %(version)s AND state = 'failed';

-- name: remove_version
DELETE FROM projection_versions WHERE name = %(name)s AND version = %(version)s;

-- name: tables
SELECT tables FROM projection_versions WHERE name = %(name)s AND version = %(version)s;

-- name: patience
-- Dropping a table locks it against new readers for as long as the oldest reader still uses it, so give up soon.
SET LOCAL lock_timeout = '2s';
