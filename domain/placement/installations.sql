-- name: standing
SELECT
    (SELECT position FROM head),
    (SELECT count(*) FROM stored_events WHERE topic = 'ledger.opened'),
    (SELECT max(name) FROM migrations);

-- name: identity
SELECT id FROM installation;
