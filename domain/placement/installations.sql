-- name: standing
SELECT
    (SELECT position FROM head),
    (
        SELECT count(*) FROM stored_events WHERE topic = 'ledger.opened' AND NOT EXISTS (
            SELECT FROM absent_ledgers WHERE ledger = split_part(originator_id, '/', 1)
        )
    ),
    (SELECT max(name) FROM migrations);

-- name: identity
SELECT id FROM installation;
