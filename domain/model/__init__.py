"""The ledger's nouns, events and rules. Pure: no I/O, clock or randomness."""
