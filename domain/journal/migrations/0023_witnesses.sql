-- The logs of other installations that this one witnesses, and how the last look at each went. What was witnessed is in
-- the journal, in the streams `-/witnesses/{name}`; this table only names them, since streams are not found by their
-- beginnings, and keeps what changes with every look.
CREATE TABLE witnessed_logs (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9-]{0,31}$'),
    added_at timestamptz NOT NULL DEFAULT now(),
    -- Whether the settings name it: what is known of a log is kept when nobody looks at it any more.
    is_watched boolean NOT NULL,
    -- When the newest checkpoint of the log was last seen and found to follow, and how many events it covered.
    seen_at timestamptz,
    seen_size bigint CHECK (seen_size >= 0),
    -- Why the last look failed. Null if it did not.
    last_error text
);
GRANT SELECT, INSERT, UPDATE ON witnessed_logs TO :service;
