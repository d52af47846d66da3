"""Process managers: each watches a read model and sends commands to the ledger."""
