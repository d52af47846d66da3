"""The write side: the nouns of the ledger, their decisions, and the journal that keeps them."""
