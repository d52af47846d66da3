-- name: create_tables
CREATE TABLE due_v:version (
    ledger text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (ledger, id)
);

-- name: create_indexes
CREATE INDEX IF NOT EXISTS due_v:version_due ON due_v:version (due_at, position);

-- name: remove
DELETE FROM due_v:version AS d USING unnest(%(ledgers)s::text[], %(ids)s::uuid[]) AS done(ledger, id)
WHERE d.ledger = done.ledger AND d.id = done.id;

-- name: keep
-- An accepted request for a hold becomes due again, at another time, once the hold is made.
INSERT INTO due_v:version (ledger, id, due_at, position)
SELECT * FROM unnest(%(ledgers)s::text[], %(ids)s::uuid[], %(due_at)s::timestamptz[], %(positions)s::bigint[])
ON CONFLICT (ledger, id) DO UPDATE SET due_at = excluded.due_at, position = excluded.position;

-- name: announce
-- Only the due worker listens, and it needs to look only then. Waking it for every event would cost more than its work.
SELECT pg_notify(current_schema() || '_due', '');

-- name: list
-- But for ledgers that move: their work is done where they arrive.
SELECT ledger, id, due_at, position FROM due_v:version AS due
WHERE due_at <= %(now)s AND id <> ALL(%(excluding)s::uuid[])
AND NOT EXISTS (SELECT FROM fenced_ledgers AS fenced WHERE fenced.ledger = due.ledger)
ORDER BY due_at, position LIMIT %(limit)s;
