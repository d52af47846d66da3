"""Accounts: opening them, their limits, balances and entries."""
