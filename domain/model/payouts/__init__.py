"""Payouts: their state, and every command on them."""
