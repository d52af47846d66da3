"""Fills a new version beside the live one, compares, switches."""
