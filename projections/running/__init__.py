"""Keeps the live versions up to date, and tells how far they are."""
