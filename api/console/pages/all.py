"""All kinds of pages. Importing this module lists them, and the actions that they offer."""

from api.console.pages import compose, ledgers, now, open_anything, story

__all__ = ["compose", "ledgers", "now", "open_anything", "story"]
