"""What became of a request by its key: its state, its trace, and what is stuck."""
