-- The journal takes half the bytes: events are stored in the table `stored_events`, abbreviated, and `events` is a view
-- that shows each of them whole, byte for byte. So every release, reader and auditor sees the rows that it always saw.
-- domain/journal/abbreviations.py says how a state is abbreviated.
--
-- Nothing is rewritten: rows without `shares` are whole, as older releases write them. This takes a moment, but it needs
-- the table to itself, and whatever waits for such a lock makes all others wait behind it. So it waits for a second at a
-- time, and lets the others through in between.
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '1s', true);
    FOR attempt IN 1..120 LOOP
        BEGIN
            LOCK TABLE :schema.events IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF attempt = 120 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(1);
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', true);
END;
$$;

ALTER TABLE events RENAME TO stored_events;

-- How many positions before stands the event whose envelope this one shares: 0 for an event with an envelope of its own,
-- null for a state that is stored whole. Null costs no byte.
ALTER TABLE stored_events ADD COLUMN shares smallint;

-- For readers that make many states whole themselves: each with the stored state of the event whose envelope it shares.
CREATE VIEW abbreviated_events AS
SELECT
    e.originator_id,
    e.originator_version,
    e.topic,
    e.state,
    e.notification_id,
    e.shares,
    CASE WHEN e.shares > 0 THEN (
        SELECT base.state FROM stored_events AS base WHERE base.notification_id = e.notification_id - e.shares
    ) END AS base
FROM stored_events AS e;

-- For everybody else. Only who asks for `state` pays for it. encode() and decode() take any bytes, so nothing that is stored makes a query
-- fail. An envelope that cannot be found leaves its byte, which no JSON text has, so that the event is unreadable.
CREATE VIEW events AS
SELECT
    e.originator_id,
    e.originator_version,
    e.topic,
    CASE WHEN e.shares IS NULL THEN e.state ELSE decode(
        replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
        replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
            CASE WHEN e.shares > 0 THEN replace(encode(e.state, 'escape'), chr(31), coalesce((
                SELECT chr(2) || split_part(split_part(encode(base.state, 'escape'), chr(3), 1), chr(2), 2) || chr(3)
                FROM stored_events AS base WHERE base.notification_id = e.notification_id - e.shares
            ), chr(31))) ELSE encode(e.state, 'escape') END,
            chr(1), '{"class_version":'),
            chr(2), '"recorded_at":"'),
            chr(3), ',"data":'),
            chr(4), '","actor":"'),
            chr(5), '","correlation_id":"'),
            chr(6), '","causation_id":"'),
            chr(7), '","idempotency_key":"'),
            chr(8), '","traceparent":"'),
            chr(11), '{"transaction_id":"'),
            chr(12), '","debits":'),
            chr(14), ',"credits":'),
            chr(15), '{"reference":'),
            chr(16), ',"description":"","metadata":{},"fingerprint":"'),
            chr(17), '","entries":[{"account":"'),
            chr(18), '},{"account":"'),
            chr(19), '","direction":"debit","amount":'),
            chr(20), '","direction":"credit","amount":'),
            chr(21), ',"asset":"'),
            chr(22), '","normal_side":"debit","balance_after":'),
            chr(23), '","normal_side":"credit","balance_after":'),
            chr(24), ',"debits_after":'),
            chr(25), '}],"effective_at":"'),
        'escape')
    END AS state,
    e.notification_id
FROM stored_events AS e;

-- Older releases append to the view, and so does whoever restores with one.
CREATE FUNCTION store_whole() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO :schema.stored_events (originator_id, originator_version, topic, state, notification_id)
    VALUES (NEW.originator_id, NEW.originator_version, NEW.topic, NEW.state, NEW.notification_id);
    RETURN NEW;
END;
$$;
CREATE TRIGGER events_are_stored INSTEAD OF INSERT ON events
    FOR EACH ROW EXECUTE FUNCTION store_whole();
CREATE TRIGGER events_are_never_changed INSTEAD OF UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite_history();
-- The table has the trigger of this name that matters. The doctors of older releases look for one here; a view cannot be
-- truncated, so this one refuses a statement that deletes nothing.
CREATE TRIGGER events_are_never_truncated BEFORE DELETE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history();

GRANT SELECT ON abbreviated_events TO :service;
GRANT SELECT, INSERT ON events TO :service;

-- The same view as before, on the events as they are shown.
CREATE OR REPLACE VIEW journal AS
SELECT
    e.notification_id AS position,
    e.originator_id AS stream,
    e.originator_version AS version,
    nullif(split_part(e.originator_id, '/', 1), '-') AS ledger,
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
