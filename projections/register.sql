-- name: lock_installation
-- Any number of processes may install at once.
SELECT pg_advisory_xact_lock(hashtextextended('tallystick install ' || current_schema(), 0));

-- name: register
INSERT INTO projections (name, live_version) VALUES (%(name)s, 1) ON CONFLICT DO NOTHING;

-- name: next_version
SELECT max(version) + 1 FROM projection_versions WHERE name = %(name)s;

-- name: add_version
INSERT INTO projection_versions (name, version, state) VALUES (%(name)s, %(version)s, %(state)s);

-- name: remove_version
DELETE FROM projection_versions WHERE name = %(name)s AND version = %(version)s;

-- name: retired
SELECT name, version FROM projection_versions WHERE state = 'retired' ORDER BY name, version;

-- name: patience
-- A table to be dropped is locked against new readers for as long as the oldest one still reads it.
SET LOCAL lock_timeout = '2s';
