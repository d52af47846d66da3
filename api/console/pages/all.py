"""All kinds of pages. Importing this module lists them, and the actions that they offer."""

from api.console.pages import ledgers, now, open_anything, story

__all__ = ["ledgers", "now", "open_anything", "story"]
