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

__all__ = [
    "compose",
    "dead_letters",
    "deliveries",
    "ledgers",
    "now",
    "open_anything",
    "payouts",
    "projections",
    "story",
    "stuck",
    "webhooks",
]
