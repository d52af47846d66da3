"""Accounts: opening and limiting them, their balances and entries."""
