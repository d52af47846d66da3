"""The write side: the model of the ledger, its decisions, and the journal that stores them."""
