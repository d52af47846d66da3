-- Each release reads, advances and waits for the live version of the shape that it knows: one for each name and shape.
-- Two releases so run side by side, whichever started first, and rolling back finds what the older one left.
--
-- projections.live_version is what releases before this migration read; it is kept up for them and read by no other.
ALTER TABLE projection_versions
    ADD COLUMN live boolean NOT NULL DEFAULT false,
    -- The tables of the version, so that it can be dropped by a release that knows others.
    ADD COLUMN tables text[] NOT NULL DEFAULT '{}';

UPDATE projection_versions AS v SET live = true FROM projections AS p WHERE p.name = v.name AND p.live_version = v.version;
UPDATE projection_versions SET tables = ARRAY[format('%s_v%s', name, version)] || CASE name
    WHEN 'entries' THEN ARRAY[format('turnovers_v%s', version)]
    WHEN 'transactions'
    THEN ARRAY[format('transaction_accounts_v%s', version), format('transaction_metadata_v%s', version)]
    ELSE '{}'
END;
-- What was being rebuilt is begun anew: it has no request that says by whom and why.
UPDATE projection_versions SET state = 'retired' WHERE state = 'rebuilding';

CREATE UNIQUE INDEX live_versions ON projection_versions (name, shape) WHERE live;

-- Rebuilds, asked for, under way and ended: who wants a new version, why, how far it is, what was compared, what became
-- of it. Whichever process carries it out finds here what to do, so it may die at any time.
CREATE TABLE rebuilds (
    name text NOT NULL REFERENCES projections,
    version int NOT NULL CHECK (version > 0),
    shape int NOT NULL CHECK (shape > 0),
    -- failed and differing wait for an operator, who may cancel, ask anew, or accept the difference
    state text NOT NULL DEFAULT 'requested' CHECK (
        state IN ('requested', 'filling', 'comparing', 'paused', 'differing', 'failed', 'switched', 'cancelled')
    ),
    reason text,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    -- why the new version is wanted though it differs, and who says so
    accept_difference text,
    accepted_by text,
    -- who last paused, resumed or cancelled it, and why
    controlled_by text,
    control_reason text,
    started_at timestamptz,
    rate_events_per_second double precision NOT NULL DEFAULT 0,
    measured_at timestamptz NOT NULL DEFAULT now(),
    last_error text,
    -- where both versions stood when they were compared, and what was found; null where there was nothing to compare with
    compared_version int,
    compared_position bigint,
    comparison jsonb,
    -- why they can be expected to differ, if they can
    difference_expected text,
    ended_at timestamptz,
    PRIMARY KEY (name, version)
) WITH (fillfactor = 50);  -- updated about twice a second while it is under way

CREATE UNIQUE INDEX rebuilds_not_ended ON rebuilds (name, shape) WHERE ended_at IS NULL;

-- The parts of a version that is filled by several processes at once: of the streams that belong to the part by the hash
-- of their ids, all events up to `position` are in it; it is done at `upto`.
CREATE TABLE rebuild_parts (
    name text NOT NULL,
    version int NOT NULL,
    number int NOT NULL,
    parts int NOT NULL CHECK (number >= 0 AND number < parts),
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0 AND position <= upto),
    upto bigint NOT NULL,
    -- who fills it: a process fences any other by changing this
    runner uuid,
    PRIMARY KEY (name, version, number),
    FOREIGN KEY (name, version) REFERENCES projection_versions ON DELETE CASCADE
) WITH (fillfactor = 20);  -- updated with every batch: room for HOT updates

GRANT SELECT, INSERT, UPDATE ON rebuilds TO :service;
GRANT SELECT, INSERT, UPDATE, DELETE ON rebuild_parts TO :service;
