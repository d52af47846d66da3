-- The register of projections. Each version of a projection has its own tables and its own position; the one that is
-- read is named by projections.live_version. The tables themselves belong to the projections package, which makes
-- them under the service's role: rebuilding one beside the live one makes new ones.

CREATE TABLE projections (
    name text PRIMARY KEY,
    live_version int NOT NULL
);

CREATE TABLE projection_versions (
    name text NOT NULL REFERENCES projections,
    version int NOT NULL CHECK (version > 0),
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    -- rebuilding: filled beside the live one; retired: replaced, its tables still to be dropped
    state text NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'paused', 'halted', 'rebuilding', 'retired')),
    -- who advances it: a runner fences any other by changing this
    runner uuid,
    -- how fast it went lately, and what stops it now
    rate_events_per_second double precision NOT NULL DEFAULT 0,
    last_error text,
    advanced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
) WITH (fillfactor = 20);  -- updated with every batch: room for HOT updates

-- What was read instead of what, since when, and what their comparison said; `reason` is the operator's, where a
-- difference was accepted.
CREATE TABLE projection_switches (
    name text NOT NULL REFERENCES projections,
    version int NOT NULL,
    replaced_version int NOT NULL,
    position bigint NOT NULL,
    comparison text NOT NULL,
    reason text,
    switched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON projections, projection_versions TO :service;
GRANT SELECT, INSERT ON projection_switches TO :service;
GRANT CREATE ON SCHEMA :schema TO :service;
