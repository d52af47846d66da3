-- name: lock_installation
-- Any number of processes may install at once.
SELECT pg_advisory_xact_lock(hashtextextended('tallystick install ' || current_schema(), 0));

-- name: register
-- The number is for releases that know of one live version only.
INSERT INTO projections (name, live_version) VALUES (%(name)s, 1) ON CONFLICT DO NOTHING;

-- name: live
SELECT version, state FROM projection_versions WHERE name = %(name)s AND shape = %(shape)s AND live;

-- name: head
SELECT position FROM head;

-- name: next_version
-- A number that was never given, not to a version that was dropped either: a reader that was overtaken by a switch and a
-- drop must not find other tables under the names that it knows.
SELECT 1 + greatest(
    (SELECT coalesce(max(version), 0) FROM projection_versions WHERE name = %(name)s),
    (SELECT coalesce(max(version), 0) FROM rebuilds WHERE name = %(name)s)
);

-- name: add_version
INSERT INTO projection_versions (name, version, state, shape, live, tables)
VALUES (%(name)s, %(version)s, %(state)s, %(shape)s, %(live)s, %(tables)s);

-- name: remove_version
DELETE FROM projection_versions WHERE name = %(name)s AND version = %(version)s;

-- name: tables
SELECT tables FROM projection_versions WHERE name = %(name)s AND version = %(version)s;

-- name: retired
SELECT version FROM projection_versions
WHERE name = %(name)s AND state = 'retired' AND (%(shape)s::int IS NULL OR shape = %(shape)s) ORDER BY version;

-- name: patience
-- A table to be dropped is locked against new readers for as long as the oldest one still reads it.
SET LOCAL lock_timeout = '2s';
