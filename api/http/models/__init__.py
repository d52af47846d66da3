"""The models that several resources share, and how the OpenAPI document names and joins models."""
