"""Projections: their progress, rebuilds and dead letters."""
