"""The transactions of a ledger."""

from itertools import groupby

from api.console.assets import with_assets
from api.console.pages.books.listing import counted, filters_of, metadata_in
from api.console.pages.books.moments import bounds_of
from api.console.view import Shown, View, page

FILTERS = ("account", "prefix", "reference", "status", "kind", "correlation_id")
PAGE_SIZE = 25
MOST_ENTRIES = 3
"""How many entries of each transaction are listed."""


@page("/console/ledgers/{ledger}/transactions")
async def show_transactions(view: View) -> Shown:
    """Show the transactions of a ledger, newest first."""
    filters = {
        **filters_of(view, *FILTERS),
        **bounds_of(view.query, "recorded_from", "recorded_to"),
        **bounds_of(view.query, "effective_from", "effective_to"),
    }
    order = filters.pop("order") or "desc"
    listed = await view.api.get(view.resource, **filters, order=order, page_size=PAGE_SIZE)
    found = listed.content
    shown = await with_assets(
        view.api,
        view.ledger,
        [
            {**entry, "of": transaction["id"]}
            for transaction in found["data"]
            for entry in transaction["entries"][:MOST_ENTRIES]
        ],
    )
    entries = {id: list(rows) for id, rows in groupby(shown, lambda entry: entry["of"])}
    is_all = found["next_cursor"] is None and not filters["cursor"]
    words = counted(len(found["data"]), "transaction", is_all=is_all)
    values = {**found, "entries": entries, "head": listed.head, "by_metadata": metadata_in(view.query)}
    first = "oldest" if order == "asc" else "newest"
    return Shown(
        f"Transactions of {view.ledger}", f"This page shows {words}, {first} first.", values, listed.position
    )
