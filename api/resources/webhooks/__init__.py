"""Webhooks: the receivers of events, and every delivery to them."""
