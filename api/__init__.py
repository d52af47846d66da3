"""HTTP: the contract's routes on the ledger and its projections."""
