"""Projections: how far they are, their rebuilds and their dead letters."""
