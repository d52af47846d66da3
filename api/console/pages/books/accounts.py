"""The accounts of a ledger."""

from api.console.pages.books.listing import PAGE_SIZE, counted, filters_of, metadata_in
from api.console.view import Shown, View, page


@page("/console/ledgers/{ledger}/accounts")
async def show_accounts(view: View) -> Shown:
    """Show the accounts of a ledger, by address."""
    filters = filters_of(view, "prefix", "asset", "status")
    listed = await view.api.get(view.resource, **filters, page_size=PAGE_SIZE)
    found = listed.content
    is_all = found["next_cursor"] is None and not filters["cursor"]
    words = counted(len(found["data"]), "account", is_all=is_all)
    values = {**found, "head": listed.head, "by_metadata": metadata_in(view.query)}
    return Shown(f"Accounts of {view.ledger}", f"This page shows {words}.", values, listed.position)
