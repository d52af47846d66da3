"""All kinds of pages. Importing this module lists them, and the actions that they offer."""

from api.console.pages import ledgers, now
from api.console.pages.books import account, accounts, balances, difference, transaction, transactions, truth

__all__ = [
    "account",
    "accounts",
    "balances",
    "difference",
    "ledgers",
    "now",
    "transaction",
    "transactions",
    "truth",
]
