"""Exports: writes, verifies and restores the journal as a file, and writes the books as plain text."""
