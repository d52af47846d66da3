-- name: one_instant
-- Positions, rows and events from one snapshot of the database, so that they fit together whatever runs meanwhile.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: whole_cursors
-- All rows of every cursor are read, so plans that are fast to the first rows and slow to the last are unsuitable.
SET LOCAL cursor_tuple_fraction = 1;

-- name: versions
-- The versions that are read. A version in a rebuild is compared with the live version before it is read itself; until
-- then its tables may be ahead of its position.
SELECT name, version, position, state FROM projection_versions
WHERE state NOT IN ('rebuilding', 'retired')
AND (name, shape) IN (SELECT * FROM unnest(%(names)s::text[], %(shapes)s::int[]))
ORDER BY name, version;

-- name: has_dead_letters
SELECT to_regclass('dead_letters') IS NOT NULL;

-- name: held
-- The events of streams that are held behind an open dead letter, including the letter's own event.
SELECT e.notification_id FROM dead_letters AS l
JOIN events AS e ON in_stream(e.originator_id, l.stream) AND e.originator_version >= l.stream_version
WHERE l.projection = %(name)s AND l.projection_version = %(version)s AND l.state = 'open';

-- name: discarded
SELECT position FROM dead_letters
WHERE projection = %(name)s AND projection_version = %(version)s AND state = 'discarded';

-- name: whole
SELECT originator_id, originator_version, topic, state, notification_id FROM events
WHERE notification_id <= %(upto)s AND (%(topics)s::text[] IS NULL OR topic = ANY(%(topics)s))
ORDER BY notification_id;

-- name: accounts
-- By stream, so that accounts are folded one after another, in constant memory.
SELECT originator_id, originator_version, topic, state, notification_id FROM events
WHERE notification_id <= %(upto)s AND originator_id LIKE '%%/accounts/%%'
ORDER BY originator_id, originator_version;

-- name: streams
-- LATERAL forces one descent of the index for each stream, whatever the statistics. OFFSET 0 keeps the planner from the
-- index of positions, which it would otherwise read from the beginning for every stream.
SELECT e.* FROM unnest(%(streams)s::text[]) AS s(stream)
CROSS JOIN LATERAL (
    SELECT originator_id, originator_version, topic, state, notification_id FROM events
    WHERE in_stream(originator_id, s.stream) AND originator_version > 0
    ORDER BY originator_version OFFSET 0
) AS e
WHERE e.notification_id <= %(upto)s
ORDER BY e.originator_id, e.originator_version;

-- name: made
-- Each event that made a transaction, in the order of positions, once for every later event of its stream, or once if
-- there is none. So rows come in the order of the projection's key, and none must be kept until it is changed.
SELECT e.originator_id, e.originator_version, e.topic, e.state, e.notification_id,
    later.originator_version, later.topic, later.state, later.notification_id
FROM events AS e
LEFT JOIN LATERAL (
    SELECT originator_version, topic, state, notification_id FROM events
    WHERE in_stream(originator_id, e.originator_id) AND originator_version > e.originator_version
    AND notification_id <= %(upto)s
    ORDER BY originator_version
) AS later ON true
WHERE e.notification_id <= %(upto)s AND e.topic = ANY(%(topics)s)
ORDER BY e.notification_id, later.originator_version;

-- name: ledgers
SELECT name, metadata, assets, opened_at, version, position FROM ledgers_v:version AS t
WHERE :sampled
ORDER BY name;

-- name: balances
-- In the order of streams, which differs from that of the key: `a-b/accounts` comes before `a/accounts`.
SELECT ledger || '/accounts/' || address AS stream, asset, normal_side, status, min_balance, max_balance, metadata,
    posted_debits, posted_credits, pending_debits, pending_credits, opened_at, opening, version, position
FROM balances_v:version AS t
WHERE :sampled
ORDER BY ledger || '/accounts/' || address COLLATE "C";

-- name: entries
SELECT position, entry, ledger, account, recorded_at, transaction_id::text, kind, asset, direction, change,
    balance_after, debits_after, effective_at, reference
FROM entries_v:version AS t
WHERE :sampled
ORDER BY position, entry, ledger, account;

-- name: turnovers
-- The end of a span is text: the last possible day ends in the year 10000, for which Python has no datetime.
SELECT ledger, account, clock, span, to_char(until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS until,
    asset, debits, credits
FROM turnovers_v:version AS t
WHERE :sampled
ORDER BY ledger, account, clock, span,
    to_char(until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') COLLATE "C", asset;

-- name: transactions
-- Metadata that is no longer JSON shows as null.
SELECT made_position, ledger, id::text, kind, status, entries, reference, description,
    CASE WHEN metadata = '{}' THEN '{}' ELSE decoded(convert_to(metadata, 'UTF8')) END AS metadata,
    effective_at, recorded_at, expires_at, idempotency_key, correlation_id, actor, settles::text, voids::text,
    reverses::text, settled_by::text, voided_by::text, reversed_by::text[], rejection_code, rejection_detail,
    made_version, reversed_amount, version, position
FROM transactions_v:version AS t
WHERE :sampled
ORDER BY made_position, ledger;

-- name: transaction_accounts
SELECT made_position, ledger, account FROM transaction_accounts_v:version AS t
WHERE :sampled
ORDER BY made_position, ledger, account;

-- name: transaction_metadata
SELECT made_position, ledger, key, value FROM transaction_metadata_v:version AS t
WHERE :sampled
ORDER BY made_position, ledger, key, value;

-- name: due
SELECT ledger, id::text, due_at, position FROM due_v:version AS t
WHERE :sampled
ORDER BY ledger, id;

-- name: event_index
SELECT slot, marks FROM event_index_v:version AS t
WHERE :sampled
ORDER BY slot;

-- name: seals
SELECT level, number, hashes FROM seals_v:version AS t
WHERE :sampled
ORDER BY level, number;

-- name: payouts
-- A body that is no longer JSON shows as null.
SELECT ledger, id::text, made_position, state, account, provider, receiver, due_at, changed_at, position, version,
    decoded(convert_to(body, 'UTF8')) AS body
FROM payouts_v:version AS t
WHERE :sampled
ORDER BY ledger, id;

-- name: outbox
SELECT webhook_id, events, last_position FROM outbox_v:version AS t
WHERE :sampled
ORDER BY webhook_id;

-- name: webhooks
SELECT id, ledgers, types, after, coalesce(upto, 9223372036854775807) FROM webhooks;

-- name: streams_at
-- With the length of each stream: versions have no gaps.
SELECT s.stream, (SELECT max(originator_version) FROM events WHERE in_stream(originator_id, s.stream))
FROM (SELECT DISTINCT originator_id FROM events WHERE notification_id = ANY(%(positions)s)) AS s(stream);

-- name: head
SELECT position FROM head;

-- name: snapshots
-- The newest snapshot of each account, which is the one that is loaded.
SELECT DISTINCT ON (originator_id) originator_id, originator_version, state FROM snapshots
WHERE topic = 'account.snapshot.1' AND (%(streams)s::text[] IS NULL OR originator_id = ANY(%(streams)s))
ORDER BY originator_id, originator_version DESC;
