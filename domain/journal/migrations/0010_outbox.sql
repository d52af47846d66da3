-- The outbox: who is told of events, what became of each event for each of them, and every attempt to tell.
--
-- Which events are owed to a webhook follows from the journal, and a projection counts them. What became of a delivery
-- does not: these tables are a record, and no rebuild changes what they hold.

CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    url text NOT NULL,
    ledgers text[] NOT NULL,  -- {*} is every ledger
    types text[] NOT NULL,  -- {*} is every type of event
    description text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The events that are owed to it: those after the head at its registration, up to the head at its deletion.
    after bigint NOT NULL,
    upto bigint,
    state text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled', 'deleted')),
    disabled_reason text,
    -- since when every attempt has failed; null if the last one was acknowledged
    failing_since timestamptz,
    CHECK ((state = 'deleted') = (upto IS NOT NULL))
);

-- In the clear, since whoever signs needs the secret itself. While a rotation overlaps there are several.
CREATE TABLE webhook_secrets (
    webhook_id uuid NOT NULL REFERENCES webhooks,
    secret text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    valid_until timestamptz,  -- null is no end
    PRIMARY KEY (webhook_id, secret)
);

-- A row is for good: that there is one is how an event is known to have been told, or not to be told, already.
CREATE TABLE deliveries (
    webhook_id uuid NOT NULL REFERENCES webhooks,
    position bigint NOT NULL,
    -- deliveries of one key are made one after the other, in the order of positions
    partition_key text COLLATE "C" NOT NULL,
    correlation_id text NOT NULL,
    -- sent: an attempt is under way; failed: given up, and its key waits for an operator
    state text NOT NULL CHECK (state IN ('pending', 'sent', 'acknowledged', 'failed', 'suppressed')),
    attempts int NOT NULL DEFAULT 0,
    -- since the first attempt or, later, since an operator asked for another
    failures int NOT NULL DEFAULT 0,
    -- The receiver may have it already: an attempt ended without an answer, or an operator has it sent again.
    is_in_doubt boolean NOT NULL DEFAULT false,
    -- only the first unfinished delivery of a key is due at a time; those behind it are when it is done
    due_at timestamptz,
    reason text,
    PRIMARY KEY (webhook_id, position)
);

-- The next attempts, whatever waits behind them.
CREATE INDEX deliveries_due ON deliveries (webhook_id, due_at, position) WHERE due_at IS NOT NULL;
-- The next delivery of a key, however many were made.
CREATE INDEX deliveries_unfinished ON deliveries (webhook_id, partition_key, position)
    WHERE state IN ('pending', 'sent', 'failed');
-- Lists by state; of those acknowledged, which are nearly all, the primary key will do.
CREATE INDEX deliveries_state ON deliveries (state, webhook_id, position) WHERE state <> 'acknowledged';
-- What a request has led to.
CREATE INDEX deliveries_correlation_id ON deliveries (correlation_id);

CREATE TABLE delivery_attempts (
    webhook_id uuid NOT NULL,
    position bigint NOT NULL,
    number int NOT NULL,
    -- sent: recorded before the request goes out, so that nothing can have been sent that is not found here
    outcome text NOT NULL CHECK (outcome IN ('sent', 'acknowledged', 'failed', 'suppressed')),
    is_duplicate boolean NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    status_code int,
    reason text,
    PRIMARY KEY (webhook_id, position, number)
);

-- Those that have no end yet: a publisher that takes over ends them.
CREATE INDEX delivery_attempts_sent ON delivery_attempts (webhook_id, position) WHERE outcome = 'sent';

-- How many deliveries a version of the projection found made already, since it read the journal again.
CREATE TABLE outbox_suppressions (
    webhook_id uuid NOT NULL REFERENCES webhooks,
    version int NOT NULL,
    deliveries bigint NOT NULL,
    first_position bigint NOT NULL,
    last_position bigint NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (webhook_id, version)
);

GRANT SELECT, INSERT, UPDATE ON webhooks, deliveries, delivery_attempts, outbox_suppressions TO :service;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_secrets TO :service;
