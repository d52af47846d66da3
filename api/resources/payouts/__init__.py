"""Payouts: requesting them, what their providers say, and ending those in doubt."""
