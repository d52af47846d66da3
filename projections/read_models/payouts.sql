-- name: create_tables
-- `body` is the folded payout, as JSON. The other columns are those that lists filter and sort by, and that operators
-- look for: `state` and `changed_at` show payouts that have waited longer than they should. `receiver` is the ledger that a
-- bridge leads to, null for other payouts.
CREATE TABLE payouts_v:version (
    ledger text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    made_position bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    receiver text COLLATE "C",
    due_at timestamptz,
    changed_at timestamptz NOT NULL,
    position bigint NOT NULL,
    version bigint NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (ledger, id)
);

-- name: create_indexes
CREATE UNIQUE INDEX IF NOT EXISTS payouts_v:version_order ON payouts_v:version (ledger, made_position);
-- Every filter has an index that ends with the list's order, so that a page costs the same however many payouts there
-- are.
CREATE INDEX IF NOT EXISTS payouts_v:version_state ON payouts_v:version (ledger, state, made_position);
CREATE INDEX IF NOT EXISTS payouts_v:version_account ON payouts_v:version (ledger, account, made_position);
CREATE INDEX IF NOT EXISTS payouts_v:version_provider ON payouts_v:version (ledger, provider, made_position);
CREATE INDEX IF NOT EXISTS payouts_v:version_due ON payouts_v:version (provider, due_at, position)
WHERE due_at IS NOT NULL;
-- Payouts that have not ended, by the time since which nothing was heard of them.
CREATE INDEX IF NOT EXISTS payouts_v:version_unended ON payouts_v:version (changed_at)
WHERE state NOT IN ('completed', 'failed', 'rejected');

-- name: skip
-- A discarded event changes only the version, so that the next event follows it.
UPDATE payouts_v:version SET version = %(version)s
WHERE ledger = %(ledger)s AND id = %(name)s::uuid AND version = %(version)s - 1;

-- name: find
SELECT p.body, p.version FROM payouts_v:version AS p
JOIN unnest(%(ledgers)s::text[], %(ids)s::uuid[]) AS wanted(ledger, id) ON p.ledger = wanted.ledger AND p.id = wanted.id;

-- name: keep
INSERT INTO payouts_v:version (
    ledger, id, made_position, state, account, provider, receiver, due_at, changed_at, position, version, body
)
SELECT * FROM unnest(
    %(ledgers)s::text[], %(ids)s::uuid[], %(made_positions)s::bigint[], %(states)s::text[], %(accounts)s::text[],
    %(providers)s::text[], %(receivers)s::text[], %(due_at)s::timestamptz[], %(changed_at)s::timestamptz[],
    %(positions)s::bigint[], %(versions)s::bigint[], %(bodies)s::text[]
)
ON CONFLICT (ledger, id) DO UPDATE SET
    state = excluded.state, due_at = excluded.due_at, changed_at = excluded.changed_at,
    position = excluded.position, version = excluded.version, body = excluded.body;

-- name: announce
-- Only the payer listens, and it needs to look only then.
SELECT pg_notify(current_schema() || '_payouts', '');

-- name: page
-- Planned each time with its values, so that null filters vanish and the others choose the index.
SELECT body, version FROM payouts_v:version
WHERE ledger = %(ledger)s
AND (%(after)s::bigint IS NULL OR made_position :beyond %(after)s)
AND (%(state)s::text IS NULL OR state = %(state)s)
AND (%(account)s::text IS NULL OR account = %(account)s)
AND (%(provider)s::text IS NULL OR provider = %(provider)s)
ORDER BY made_position :order LIMIT %(limit)s;

-- name: list_due
-- LATERAL, so that each provider gets its own share by one descent of the index. Payouts of a ledger that moves are pursued
-- where it arrives.
SELECT due.ledger, due.id::text, due.provider, due.position, due.receiver
FROM unnest(%(providers)s::text[], %(installations)s::text[], %(limits)s::int[]) AS share(provider, installation, most)
CROSS JOIN LATERAL (
    SELECT p.ledger, p.id, p.provider, p.position, p.due_at, p.receiver FROM payouts_v:version AS p
    WHERE p.provider = share.provider AND p.id <> ALL(%(excluding)s::uuid[])
    AND p.due_at <= %(now)s::timestamptz
    AND share.installation = coalesce(%(places)s::jsonb ->> p.receiver, '')
    AND NOT EXISTS (SELECT FROM fenced_ledgers AS fenced WHERE fenced.ledger = p.ledger)
    ORDER BY p.due_at, p.position LIMIT share.most
) AS due
ORDER BY due.due_at, due.position;

-- name: list_early
-- Payouts of one share that have waited for an answer since before an instant, whenever they are due.
SELECT p.ledger, p.id::text, p.provider, p.position, p.receiver FROM payouts_v:version AS p
WHERE p.provider = %(provider)s AND p.due_at IS NOT NULL
AND p.state = ANY(%(states)s::text[]) AND p.changed_at < %(since)s::timestamptz AND p.id <> ALL(%(excluding)s::uuid[])
AND %(installation)s = coalesce(%(places)s::jsonb ->> p.receiver, '')
AND NOT EXISTS (SELECT FROM fenced_ledgers AS fenced WHERE fenced.ledger = p.ledger)
ORDER BY p.due_at, p.position LIMIT %(limit)s;

-- name: awaited
-- Payouts of a ledger that is about to leave are waited for: it may stay.
SELECT share.provider, share.installation
FROM unnest(%(providers)s::text[], %(installations)s::text[]) AS share(provider, installation) WHERE EXISTS (
    SELECT FROM payouts_v:version AS p WHERE p.provider = share.provider AND p.due_at IS NOT NULL
    AND share.installation = coalesce(%(places)s::jsonb ->> p.receiver, '')
    AND NOT EXISTS (SELECT FROM absent_ledgers AS absent WHERE absent.ledger = p.ledger)
);

-- name: forgotten
SELECT provider, count(*) FROM payouts_v:version AS p
WHERE due_at <= %(now)s AND provider <> ALL(%(known)s::text[])
AND NOT EXISTS (SELECT FROM fenced_ledgers AS fenced WHERE fenced.ledger = p.ledger)
GROUP BY provider;
