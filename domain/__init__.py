"""The write side: what the ledger is, how it decides, and the journal that remembers it."""
