"""Ledgers: opening, showing and listing them."""
