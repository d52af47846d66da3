"""Advances one version of one read model, exactly once. Knows no read model by name."""
