-- Ledgers that move from one installation to another (domain/placement/moves.py). The journal has the truth as events;
-- what is here is changed in the same transaction as they are, under the head's lock.

-- One row for each ledger that ever began to leave or to arrive here. `installation` is the other place. `copied` is the
-- newest position, as it is shown, of the events that were copied here.
CREATE TABLE ledger_moves (
    ledger text COLLATE "C" PRIMARY KEY,
    state text COLLATE "C" NOT NULL CHECK (state IN ('leaving', 'frozen', 'left', 'arriving', 'here')),
    installation text COLLATE "C" NOT NULL,
    copied bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Where positions of a ledger's events are shown: from `position` on, up to the ledger's next row, an event is shown at
-- `shown` and as many as it stands after. `recorded` says in the same way which position it had where it was recorded.
-- Before a ledger's first row, positions are shown as they are.
CREATE TABLE position_ranges (
    ledger text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    shown bigint NOT NULL,
    recorded bigint NOT NULL,
    PRIMARY KEY (ledger, position)
);

-- Which positions hold copies. Their recorded times are older than those around them. `recorded_at` is what the head's
-- was, so time rises with positions if it stands in for theirs.
CREATE TABLE copied_events (
    first bigint PRIMARY KEY,
    last bigint NOT NULL,
    ledger text COLLATE "C" NOT NULL,
    recorded_at text COLLATE "C" NOT NULL
);

-- What stands in for the recorded time of an event that was copied, null for any other. Written so that PostgreSQL looks
-- the table up now, and puts the body in place of each call (0020_stream_keys.sql).
CREATE FUNCTION copied_at(at_position bigint) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
    SELECT CASE WHEN c.last >= at_position THEN c.recorded_at END FROM (
        SELECT last, recorded_at FROM copied_events WHERE first <= at_position ORDER BY first DESC LIMIT 1
    ) AS c
);

-- The ledgers for which nothing is recorded here, and those that are not here at all.
CREATE VIEW fenced_ledgers AS
SELECT ledger, state, installation FROM ledger_moves WHERE state IN ('frozen', 'left', 'arriving');
CREATE VIEW absent_ledgers AS
SELECT ledger, state, installation FROM ledger_moves WHERE state IN ('left', 'arriving');

GRANT SELECT, INSERT, UPDATE, DELETE ON ledger_moves TO :service;
GRANT SELECT, INSERT ON position_ranges, copied_events TO :service;
GRANT SELECT ON fenced_ledgers, absent_ledgers TO :service;
GRANT EXECUTE ON FUNCTION copied_at(bigint) TO :service;
