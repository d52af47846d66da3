"""The ways through the console: every page that stands in the menu, with its key, and why a caller may not go there."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from api.console.view import View


class Way(NamedTuple):
    """A way to a page. `letter` leads there after `g`. `why_not` is None if the caller may read the page."""

    label: str
    address: str
    letter: str
    why_not: str | None
    is_here: bool


class Place(NamedTuple):
    """A page of the menu: its address, and the route of the API on which it rests; none if every key may read it."""

    label: str
    path: str
    letter: str
    route: str


INSTALLATION = (
    Place("Now", "", "n", ""),
    Place("Stuck", "/stuck", "s", "/v1/stuck"),
    Place("Ledgers", "/ledgers", "l", "/v1/ledgers"),
    Place("Projections", "/projections", "p", "/v1/projections"),
    Place("Dead letters", "/dead-letters", "d", "/v1/dead-letters"),
    Place("Webhooks", "/webhooks", "w", "/v1/webhooks"),
    Place("Proofs", "/audit", "c", "/v1/audit/checkpoints"),
    Place("Keys", "/keys", "k", "/v1/keys"),
)
LEDGER = (
    Place("Accounts", "/accounts", "a", "/v1/ledgers/{ledger}/accounts"),
    Place("Transactions", "/transactions", "t", "/v1/ledgers/{ledger}/transactions"),
    Place("Balances", "/balances", "b", "/v1/ledgers/{ledger}/balances"),
    Place("Payouts", "/payouts", "o", "/v1/ledgers/{ledger}/payouts"),
    Place("Events", "/events", "e", "/v1/ledgers/{ledger}/events"),
    Place("Try", "/try", "y", "/v1/ledgers/{ledger}/transactions"),
)


def navigation(view: View) -> dict[str, Sequence[Way]]:
    """Return the ways from a page: to the pages of the installation, and to those of its ledger if it has one."""
    ways = {"installation": [_way(view, place, "/console") for place in INSTALLATION], "ledger": []}
    if ledger := view.names.get("ledger"):
        base = f"/console/ledgers/{quote(ledger)}"
        ways["ledger"] = [_way(view, place, base) for place in LEDGER]
    return {**ways}


def _way(view: View, place: Place, base: str) -> Way:
    address = base + place.path
    is_here = view.path == address or (place.path != "" and view.path.startswith(f"{address}/"))
    why_not = view.why_not("GET", place.route) if place.route else None
    return Way(place.label, address, place.letter, why_not, is_here)
