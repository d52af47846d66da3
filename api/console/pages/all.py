"""All kinds of pages. Importing this module lists them, and the actions that they offer."""

from api.console.pages import audit, events, keys, ledgers, now

__all__ = ["audit", "events", "keys", "ledgers", "now"]
