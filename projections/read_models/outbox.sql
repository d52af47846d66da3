-- name: create_tables
-- How many events were owed to each webhook; rebuilds are compared by these counts. `deliveries` says what became of
-- them.
CREATE TABLE outbox_v:version (
    webhook_id uuid PRIMARY KEY,
    events bigint NOT NULL,
    last_position bigint NOT NULL
);

-- name: create_indexes
-- None, but every projection must have this query.
SELECT;

-- name: lock
-- Held by each transaction that decides which delivery is the next of its key, or which events are owed. Without it, a
-- registration that commits between our reading of the webhooks and our commit would miss the events of this batch.
SELECT pg_advisory_xact_lock(hashtextextended('outbox ' || current_schema(), 0));

-- name: subscribers
SELECT id, ledgers, types, after, upto FROM webhooks WHERE upto IS NULL OR upto >= %(first)s;

-- name: copies
-- Those of some positions that hold copies.
SELECT position FROM unnest(%(positions)b::bigint[]) AS position WHERE copied_at(position) IS NOT NULL;

-- name: by_keys
-- For the next query, which looks rows up by their keys; see `session` in outbox/queue.sql. Until the transaction ends.
SELECT set_config(name, 'off', true) FROM unnest(ARRAY['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']) AS name;

-- name: owe
-- The version of the projection that first finds a delivery owed makes it; any other version finds it made. So whatever
-- reads the journal again, a rebuild or tables of another shape, sends nothing again, and counts what it did not send.
-- The first delivery of a key is due at once, unless an older one is not done. Deliveries to a webhook that was deleted
-- meanwhile are not sent.
WITH given AS (
    SELECT * FROM unnest(
        %(webhooks)s::uuid[], %(positions)s::bigint[], %(keys)s::text[], %(correlation_ids)s::text[]
    ) AS owed (webhook_id, position, partition_key, correlation_id)
), counted AS (
    INSERT INTO outbox_v:version AS o (webhook_id, events, last_position)
    SELECT webhook_id, count(*), max(position) FROM given GROUP BY webhook_id ORDER BY webhook_id
    ON CONFLICT (webhook_id) DO UPDATE SET
        events = o.events + excluded.events, last_position = greatest(o.last_position, excluded.last_position)
), fresh AS (
    SELECT given.*, row_number() OVER (PARTITION BY webhook_id, partition_key ORDER BY position) AS nth
    FROM given
    WHERE NOT EXISTS (
        SELECT FROM deliveries AS made WHERE made.webhook_id = given.webhook_id AND made.position = given.position
    )
), made AS (
    INSERT INTO deliveries (webhook_id, position, partition_key, correlation_id, state, reason, due_at)
    SELECT
        f.webhook_id, f.position, f.partition_key, f.correlation_id,
        CASE WHEN w.state = 'deleted' THEN 'suppressed' ELSE 'pending' END,
        CASE WHEN w.state = 'deleted' THEN 'the webhook was deleted' END,
        CASE WHEN w.state <> 'deleted' AND f.nth = 1 AND NOT EXISTS (
            SELECT FROM deliveries AS older
            WHERE older.webhook_id = f.webhook_id AND older.partition_key = f.partition_key
            AND older.state IN ('pending', 'sent', 'failed')
        ) THEN clock_timestamp() END
    FROM fresh AS f JOIN webhooks AS w ON w.id = f.webhook_id
    RETURNING webhook_id, position
), suppressed AS (
    INSERT INTO outbox_suppressions AS s (webhook_id, version, deliveries, first_position, last_position)
    SELECT webhook_id, :version, count(*), min(position), max(position) FROM given
    WHERE (webhook_id, position) NOT IN (SELECT webhook_id, position FROM made)
    GROUP BY webhook_id ORDER BY webhook_id
    ON CONFLICT (webhook_id, version) DO UPDATE SET
        deliveries = s.deliveries + excluded.deliveries,
        first_position = least(s.first_position, excluded.first_position),
        last_position = greatest(s.last_position, excluded.last_position),
        last_at = now()
)
SELECT pg_notify(current_schema() || '_outbox', '') WHERE EXISTS (SELECT FROM made);
