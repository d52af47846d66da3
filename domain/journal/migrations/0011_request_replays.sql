-- How often keyed requests came again, and from whom. They are counted in memory and written in the background, since a
-- replay must not cost a transaction that writes: what a process had not written when it died is not here.
--
-- One row for each key, for who sent it again and for what became of it, however often: so there are no more than keys,
-- times the API keys that use them.
CREATE TABLE request_replays (
    ledger text COLLATE "C" NOT NULL,
    operation_id uuid NOT NULL,
    actor text NOT NULL,
    -- replayed: the same request, answered as before; mismatched: another request under the same key, refused
    kind text NOT NULL CHECK (kind IN ('replayed', 'mismatched')),
    count bigint NOT NULL CHECK (count > 0),
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    last_correlation_id text NOT NULL,
    PRIMARY KEY (ledger, operation_id, actor, kind)
);

-- A retry may be a conversation of its own: whoever knows only that finds by it what was asked again.
CREATE INDEX request_replays_correlation_id ON request_replays (last_correlation_id);

-- What a conversation has led to is found by the positions of its events, which are exact where its id is many ledgers'.
DROP INDEX deliveries_correlation_id;

GRANT SELECT, INSERT, UPDATE ON request_replays TO :service;
