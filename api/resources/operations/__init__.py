"""What became of a request: its operation, its trace, and everything that is stuck."""
