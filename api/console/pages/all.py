"""All kinds of pages. Importing this module lists them, and the actions that they offer."""

from api.console.pages import (
    compose,
    dead_letters,
    deliveries,
    ledgers,
    now,
    open_anything,
    payouts,
    projections,
    story,
    stuck,
    webhooks,
)
from api.console.pages.books import account, accounts, balances, difference, transaction, transactions, truth

__all__ = [
    "account",
    "accounts",
    "balances",
    "compose",
    "dead_letters",
    "deliveries",
    "difference",
    "ledgers",
    "now",
    "open_anything",
    "payouts",
    "projections",
    "story",
    "stuck",
    "transaction",
    "transactions",
    "truth",
    "webhooks",
]
