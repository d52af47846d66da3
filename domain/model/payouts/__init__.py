"""A payout: its state, and every command on it."""
