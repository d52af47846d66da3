-- The map of a placement: which installation holds each ledger. Only the home installation's rows count. A row is made
-- before its ledger is opened, so a ledger without a row is in no placement, or not yet.
CREATE TABLE placements (
    ledger text PRIMARY KEY,
    installation text NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, UPDATE ON placements TO :service;
