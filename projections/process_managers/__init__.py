"""Watch a read model and send commands to the ledger."""
