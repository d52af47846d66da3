"""Commands for people who write programs that call the ledger: try it, watch it, receive from it, describe it."""
