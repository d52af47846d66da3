"""All kinds of pages. Importing this module lists them, and the actions that they offer."""

from api.console.pages import ledgers, now
from api.console.pages.books import account, transaction

__all__ = ["account", "ledgers", "now", "transaction"]
