-- Dead letters: events that a version of a projection could not apply. Later events of the same stream are held behind
-- them; the journal has those, so that nothing of them is kept here. At most one letter of a stream is open.
CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    projection text NOT NULL,
    projection_version int NOT NULL,
    shape int NOT NULL,
    stream text COLLATE "C" NOT NULL,
    stream_version bigint NOT NULL,
    position bigint NOT NULL,
    topic text NOT NULL,
    -- null where the stored bytes do not tell
    event_version int,
    correlation_id text,
    actor text,
    -- the streams of the accounts that the event names, so that a read of one of them knows what it lacks
    accounts text[] COLLATE "C" NOT NULL,
    exception text NOT NULL,
    message text NOT NULL,
    release text NOT NULL,
    attempts int NOT NULL CHECK (attempts > 0),
    first_failed_at timestamptz NOT NULL,
    last_failed_at timestamptz NOT NULL,
    -- resolved: applied by a retry; superseded: the version of the projection is no longer read
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved', 'discarded', 'superseded')),
    closed_at timestamptz,
    closed_by text,
    reason text,
    closing_correlation_id text,
    -- the letter of the event that failed when what was held behind this one was replayed
    followed_by uuid REFERENCES dead_letters DEFERRABLE INITIALLY DEFERRED,
    CHECK ((state = 'open') = (closed_at IS NULL)),
    CHECK (state <> 'discarded' OR closed_by IS NOT NULL AND reason <> '')
);

CREATE UNIQUE INDEX dead_letters_open ON dead_letters (projection, projection_version, stream) INCLUDE (position)
WHERE state = 'open';
CREATE INDEX dead_letters_order ON dead_letters (first_failed_at, id);

-- How many streams a version holds. It stands in the row that every advance locks: asked of the letters themselves, an
-- advance that has waited for a retry to end would still see what was held before it.
ALTER TABLE projection_versions ADD COLUMN held_streams int NOT NULL DEFAULT 0 CHECK (held_streams >= 0);

CREATE FUNCTION count_held_streams() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE projection_versions AS v
    SET held_streams = held_streams + CASE WHEN NEW.state = 'open' THEN 1 ELSE -1 END
    WHERE v.name = NEW.projection AND v.version = NEW.projection_version;
    RETURN NULL;
END;
$$;

CREATE TRIGGER held_streams_are_counted AFTER INSERT ON dead_letters
    FOR EACH ROW WHEN (NEW.state = 'open') EXECUTE FUNCTION count_held_streams();
CREATE TRIGGER freed_streams_are_counted AFTER UPDATE OF state ON dead_letters
    FOR EACH ROW WHEN ((OLD.state = 'open') <> (NEW.state = 'open')) EXECUTE FUNCTION count_held_streams();

-- What was decided stays readable for ever, and is never decided anew.
CREATE FUNCTION refuse_to_reopen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a dead letter that is closed is never changed: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE TRIGGER closed_letters_are_never_changed BEFORE UPDATE ON dead_letters
    FOR EACH ROW WHEN (OLD.state <> 'open') EXECUTE FUNCTION refuse_to_reopen();

-- A version that is replaced or dropped has nothing left to be retried, and its number may be given again.
CREATE FUNCTION supersede_dead_letters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dead_letters SET state = 'superseded', closed_at = now()
    WHERE projection = OLD.name AND projection_version = OLD.version AND state = 'open';
    RETURN NULL;
END;
$$;

CREATE TRIGGER retired_versions_have_no_open_letters AFTER UPDATE OF state ON projection_versions
    FOR EACH ROW WHEN (NEW.state = 'retired') EXECUTE FUNCTION supersede_dead_letters();
CREATE TRIGGER dropped_versions_have_no_open_letters AFTER DELETE ON projection_versions
    FOR EACH ROW EXECUTE FUNCTION supersede_dead_letters();

-- Who paused and resumed what, when, where it stood then, and why if that was said.
CREATE TABLE projection_controls (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    version int NOT NULL,
    position bigint NOT NULL,
    former_state text NOT NULL,
    state text NOT NULL CHECK (state IN ('paused', 'running')),
    actor text NOT NULL,
    reason text NOT NULL,
    correlation_id text NOT NULL,
    controlled_at timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT, INSERT, UPDATE ON dead_letters TO :service;
GRANT SELECT, INSERT ON projection_controls TO :service;
