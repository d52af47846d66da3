-- Webhooks of several installations that go on with one another when a ledger moves: the id of the first of them. Null
-- for one that never went on with another.
ALTER TABLE webhooks ADD COLUMN line uuid;
