-- name: lock
-- A change of what is owed to whom waits for the projection to commit, and the projection waits for it (outbox.sql).
SELECT pg_advisory_xact_lock(hashtextextended('outbox ' || current_schema(), 0));

-- name: columns
w.id, w.url, w.ledgers, w.types, w.description, w.state, w.disabled_reason, w.failing_since, w.after, w.created_by,
w.created_at,
(SELECT coalesce(sum(s.deliveries), 0)::bigint FROM outbox_suppressions AS s WHERE s.webhook_id = w.id)

-- name: add
-- A separate statement after the lock, so that it sees the head of the projection's last batch, or a later one.
INSERT INTO webhooks (id, url, ledgers, types, description, created_by, after)
SELECT %(id)s, %(url)s, %(ledgers)s, %(types)s, %(description)s, %(created_by)s, position FROM head;

-- name: add_secret
INSERT INTO webhook_secrets (webhook_id, secret) VALUES (%(id)s, %(secret)s);

-- name: end_secrets
-- A rotation may bring a secret's end forward, but never delays it. least() ignores null.
UPDATE webhook_secrets
SET valid_until = least(valid_until, clock_timestamp() + make_interval(secs => %(overlap_seconds)s))
WHERE webhook_id = %(id)s;

-- name: remove_ended_secrets
DELETE FROM webhook_secrets WHERE webhook_id = %(id)s AND valid_until <= clock_timestamp();

-- name: find
SELECT :columns FROM webhooks AS w WHERE w.id = %(id)s AND w.state <> 'deleted';

-- name: ledgers
SELECT ledgers FROM webhooks WHERE id = %(id)s;

-- name: list
SELECT :columns FROM webhooks AS w
WHERE w.state <> 'deleted' AND (%(granted)s::text[] IS NULL OR w.ledgers <@ %(granted)s::text[]) AND (
    %(after_time)s::timestamptz IS NULL
    OR (w.created_at, w.id) :beyond (%(after_time)s::timestamptz, %(after_id)s::uuid)
)
ORDER BY w.created_at :order, w.id :order LIMIT %(limit)s;

-- name: disable
UPDATE webhooks SET state = 'disabled', disabled_reason = %(reason)s WHERE id = %(id)s AND state = 'enabled';

-- name: enable
UPDATE webhooks SET state = 'enabled', disabled_reason = NULL, failing_since = NULL
WHERE id = %(id)s AND state = 'disabled';

-- name: begin_anew
-- Deliveries that were given up or wait for a later attempt are due at once, with all their attempts before them. Those
-- behind another of their key are left alone.
UPDATE deliveries SET state = 'pending', failures = 0, due_at = clock_timestamp()
WHERE webhook_id = %(id)s AND (state = 'failed' OR state = 'pending' AND due_at IS NOT NULL);

-- name: announce
SELECT pg_notify(current_schema() || '_outbox', '');

-- name: delete
UPDATE webhooks SET state = 'deleted', upto = head.position, disabled_reason = NULL FROM head
WHERE id = %(id)s AND state <> 'deleted';

-- name: was_deleted
SELECT FROM webhooks WHERE id = %(id)s AND state = 'deleted';

-- name: suppress
WITH suppressed AS (
    UPDATE deliveries SET state = 'suppressed', due_at = NULL, reason = %(reason)s, attempts = attempts + 1
    WHERE webhook_id = %(id)s AND state IN ('pending', 'failed', 'sent')
    RETURNING webhook_id, position, attempts
)
INSERT INTO delivery_attempts (webhook_id, position, number, outcome, is_duplicate, ended_at, reason)
SELECT webhook_id, position, attempts, 'suppressed', false, clock_timestamp(), %(reason)s FROM suppressed;
