"""Payouts: requesting them, callbacks of their providers, and resolving those in doubt."""
