-- name: lock_installation
-- Any number of processes may install at once.
SELECT pg_advisory_xact_lock(hashtextextended('tallystick install ' || current_schema(), 0));

-- name: register
INSERT INTO projections (name, live_version) VALUES (%(name)s, 1) ON CONFLICT DO NOTHING;

-- name: next_version
SELECT max(version) + 1 FROM projection_versions WHERE name = %(name)s;

-- name: add_version
INSERT INTO projection_versions (name, version, state, shape) VALUES (%(name)s, %(version)s, %(state)s, %(shape)s);

-- name: remove_version
DELETE FROM projection_versions WHERE name = %(name)s AND version = %(version)s;

-- name: live_shape
SELECT v.shape FROM projections AS p JOIN projection_versions AS v ON v.name = p.name AND v.version = p.live_version
WHERE p.name = %(name)s;

-- name: retire_all
UPDATE projection_versions SET state = 'retired' WHERE name = %(name)s;

-- name: switch
UPDATE projections SET live_version = %(version)s WHERE name = %(name)s;

-- name: retired
SELECT name, version FROM projection_versions WHERE state = 'retired' ORDER BY name, version;

-- name: patience
-- A table to be dropped is locked against new readers for as long as the oldest one still reads it.
SET LOCAL lock_timeout = '2s';
