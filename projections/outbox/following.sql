-- name: lock
-- The same lock as in webhooks.sql.
SELECT pg_advisory_xact_lock(hashtextextended('outbox ' || current_schema(), 0));

-- name: subscriptions
SELECT id, url, types, description, created_by, state, disabled_reason, coalesce(line, id) AS line,
    ARRAY(SELECT secret FROM webhook_secrets WHERE webhook_id = webhooks.id) AS known_secrets
FROM webhooks
WHERE state <> 'deleted' AND ledgers && ARRAY[%(ledger)s, '*'] ORDER BY created_at, id;

-- name: head
SELECT position FROM head;

-- name: told
-- Whether what is owed was found up to the head, and whether it was delivered and published.
SELECT NOT EXISTS (
    SELECT FROM projection_versions
    WHERE name IN ('outbox', 'nats') AND live AND state = 'running' AND last_error IS NULL AND position < %(head)s
) AND NOT EXISTS (
    SELECT FROM deliveries AS d JOIN webhooks AS w ON w.id = d.webhook_id
    WHERE d.state IN ('pending', 'sent') AND w.state = 'enabled' AND w.failing_since IS NULL
    AND d.partition_key >= %(ledger)s::text || '/' AND d.partition_key < %(ledger)s::text || '0'
);

-- name: secrets
SELECT secret, created_at, valid_until FROM webhook_secrets
WHERE webhook_id = %(id)s AND (valid_until IS NULL OR valid_until > clock_timestamp());

-- name: there
-- A webhook that asks for at least as much of the ledger. First one of the same line, which goes on as its owner has
-- left it, disabled or not. A secret in common stands for a line: older releases noted none.
SELECT id FROM webhooks AS w CROSS JOIN LATERAL (
    SELECT coalesce(w.line, w.id) = %(line)s OR EXISTS (
        SELECT FROM webhook_secrets WHERE webhook_id = w.id AND secret = ANY (%(known_secrets)s::text[])
    ) AS is_of_one_line
) AS known
WHERE url = %(url)s AND ledgers && ARRAY[%(ledger)s, '*'] AND (types @> %(types)s OR '*' = ANY(types))
AND (state = 'enabled' OR state = 'disabled' AND (is_of_one_line OR %(state)s = 'disabled'))
ORDER BY is_of_one_line DESC, created_at, id LIMIT 1;

-- name: add
-- Copies before the head are not owed (read_models/outbox.py), and whatever is recorded for the ledger here comes after.
INSERT INTO webhooks (id, url, ledgers, types, description, created_by, state, disabled_reason, after)
SELECT %(id)s, %(url)s, ARRAY[%(ledger)s], %(types)s, %(description)s, %(created_by)s, %(state)s, %(disabled_reason)s,
    position
FROM head;

-- name: note_line
UPDATE webhooks SET line = coalesce(line, %(line)s) WHERE id = %(id)s AND id <> %(line)s;

-- name: add_secret
-- A secret that ends at one of the two places ends with the earlier end. least() ignores null.
INSERT INTO webhook_secrets AS s (webhook_id, secret, created_at, valid_until)
VALUES (%(id)s, %(secret)s, %(created_at)s, %(valid_until)s)
ON CONFLICT (webhook_id, secret) DO UPDATE SET valid_until = least(s.valid_until, excluded.valid_until);
