-- The journal: an append-only table of events, and the one row that gives out its positions.
--
-- Column names are those of the eventsourcing library, so that its recorders and readers work on the table;
-- the view `journal` shows the same to people, under the names of this project.

CREATE TABLE events (
    -- "C": stream ids are compared byte by byte; a locale's collation would cost time on every append, and could
    -- change under the index with an update of the operating system.
    originator_id text COLLATE "C" NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    notification_id bigint NOT NULL,
    PRIMARY KEY (originator_id, originator_version)
) WITH (
    -- Rows never change, so vacuum has nothing to reclaim here but visibility and freezing; statistics matter more,
    -- since plans made on an empty table read a journal of millions sequentially.
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05
);

CREATE UNIQUE INDEX events_notification_id ON events (notification_id);

-- Whoever holds this row's lock is the writer. A row and not LOCK TABLE: that conflicts with autovacuum, which is then
-- cancelled after stalling writers, or, anti-wraparound, stalls them until it ends. recorded_at keeps recorded time in
-- the order of positions when the clocks of several processes differ.
CREATE TABLE head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL CHECK (position >= 0),
    recorded_at text COLLATE "C" NOT NULL
) WITH (fillfactor = 10);  -- updated by every commit: room for HOT updates in its one page

INSERT INTO head (position, recorded_at) VALUES (0, '0001-01-01T00:00:00.000000Z');

-- Folded aggregates, so that a stream of a million events loads in milliseconds. Not part of the truth: any of them,
-- or all, may be deleted.
CREATE TABLE snapshots (
    originator_id text COLLATE "C" NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (originator_id, originator_version)
);

-- For followers that use the library's tracking; our own projections keep their positions in `projections`.
CREATE TABLE tracking (
    application_name text PRIMARY KEY,
    notification_id bigint
);
INSERT INTO tracking VALUES ('__migration__', 1);  -- the library's mark of a single-row tracking table

CREATE FUNCTION refuse_to_rewrite_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite_history();
CREATE TRIGGER events_are_never_truncated BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history();

CREATE FUNCTION refuse_to_move_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.position >= OLD.position AND NEW.recorded_at >= OLD.recorded_at THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the head of the journal never moves back' USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE TRIGGER head_never_moves_back BEFORE UPDATE OR DELETE ON head
    FOR EACH ROW EXECUTE FUNCTION refuse_to_move_back();
CREATE TRIGGER head_is_never_truncated BEFORE TRUNCATE ON head
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_move_back();

-- For auditors who bring psql. Bytes that are not JSON, which only another program could have written, show as null.
CREATE FUNCTION decoded(state bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(state, 'UTF8')::jsonb;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END;
$$;

CREATE VIEW journal AS
SELECT
    e.notification_id AS position,
    e.originator_id AS stream,
    e.originator_version AS version,
    split_part(e.originator_id, '/', 1) AS ledger,
    e.topic AS type,
    (d.event ->> 'class_version')::int AS schema_version,
    (d.event ->> 'recorded_at')::timestamptz AS recorded_at,
    d.event ->> 'actor' AS actor,
    d.event ->> 'correlation_id' AS correlation_id,
    d.event ->> 'causation_id' AS causation_id,
    d.event ->> 'idempotency_key' AS idempotency_key,
    d.event ->> 'traceparent' AS traceparent,
    d.event -> 'data' AS payload
FROM events e
CROSS JOIN LATERAL (SELECT decoded(e.state) AS event OFFSET 0) d;  -- OFFSET 0: decode once, not once a column

CREATE VIEW journal_entries AS
SELECT
    j.ledger,
    j.position,
    split_part(j.stream, '/', 3) AS transaction_id,
    entry.ordinality AS entry,
    entry.value ->> 'account' AS account,
    entry.value ->> 'asset' AS asset,
    entry.value ->> 'direction' AS direction,
    (entry.value ->> 'amount')::bigint AS amount,
    (entry.value ->> 'balance_after')::bigint AS balance_after,
    j.recorded_at,
    (j.payload ->> 'effective_at')::timestamptz AS effective_at,
    j.payload ->> 'reference' AS reference
FROM journal j
CROSS JOIN LATERAL jsonb_array_elements(j.payload -> 'entries') WITH ORDINALITY AS entry
WHERE j.type = 'transaction.posted';

GRANT SELECT, INSERT ON events TO :service;
GRANT SELECT, UPDATE ON head TO :service;
GRANT SELECT, INSERT, DELETE ON snapshots TO :service;
GRANT SELECT, INSERT, UPDATE, DELETE ON tracking TO :service;
GRANT SELECT ON journal, journal_entries TO :service;
