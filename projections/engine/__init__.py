"""The engine that advances one version of one projection, exactly once. It knows no read model by name."""
