"""All kinds of pages. Importing this module lists them, and the actions that they offer."""

from api.console.pages import (
    audit,
    compose,
    dead_letters,
    deliveries,
    events,
    keys,
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
    "audit",
    "balances",
    "compose",
    "dead_letters",
    "deliveries",
    "difference",
    "events",
    "keys",
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
