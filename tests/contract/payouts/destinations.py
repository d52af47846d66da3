"""Destinations of payouts that the simulator treats in a special way."""

QUIET = {"name": "quiet"}
"""A destination whose payouts the provider never reports by itself."""
