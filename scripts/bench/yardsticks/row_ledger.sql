-- name: create
-- As small as such a ledger can be: numeric keys, no metadata, no idempotency, no history except the entries.
CREATE TABLE accounts (
    id int PRIMARY KEY,
    balance bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE transfers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    debited int NOT NULL REFERENCES accounts,
    credited int NOT NULL REFERENCES accounts,
    amount bigint NOT NULL CHECK (amount > 0),
    made_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE entries (
    account int NOT NULL REFERENCES accounts,
    account_version bigint NOT NULL,
    transfer bigint NOT NULL REFERENCES transfers,
    change bigint NOT NULL,
    balance_before bigint NOT NULL,
    balance_after bigint NOT NULL,
    PRIMARY KEY (account, account_version)
);
CREATE FUNCTION transfer(debited int, credited int, amount bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    -- Locked in the order of ids, so that two transfers never deadlock.
    PERFORM FROM accounts WHERE id IN (debited, credited) ORDER BY id FOR NO KEY UPDATE;
    INSERT INTO transfers (debited, credited, amount) VALUES (debited, credited, amount) RETURNING id INTO made;
    WITH changed AS (
        UPDATE accounts AS a SET balance = a.balance + c.change, version = a.version + 1
        FROM (VALUES (debited, -amount), (credited, amount)) AS c(account, change)
        WHERE a.id = c.account RETURNING a.*, c.change
    )
    INSERT INTO entries (account, account_version, transfer, change, balance_before, balance_after)
    SELECT id, version, made, change, balance - change, balance FROM changed;
    RETURN made;
END;
$$;

-- name: open
INSERT INTO accounts (id) SELECT generate_series(0, %(accounts)s - 1);

-- name: books
SELECT (SELECT count(*) FROM transfers), (SELECT coalesce(sum(change), 0) FROM entries),
    (SELECT coalesce(sum(balance), 0) FROM accounts);
