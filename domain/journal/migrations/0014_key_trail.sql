-- Who made a key and who revoked it, for those who list keys; the journal has their trail. Null where it is not known:
-- for keys of before, and where an older release works beside this one.
ALTER TABLE api_keys ADD COLUMN created_by text, ADD COLUMN revoked_by text;

-- The journal has events that belong to no ledger, those of keys: their streams begin with `-/`.
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
