"""Rebuilding: fills a new version beside the live one, compares the two, and switches."""
