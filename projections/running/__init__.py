"""Running projections: advances the live versions, and tells how far they are."""
