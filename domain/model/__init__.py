"""The ledger's aggregates, events and rules. Pure: no I/O, clock or randomness."""
