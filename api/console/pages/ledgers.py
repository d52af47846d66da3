"""The ledgers, and one ledger."""

import asyncio

from api.console.pages.books.balances import sentence_of
from api.console.view import Shown, View, page


@page("/console/ledgers", template="ledgers.html")
async def show_ledgers(view: View) -> Shown:
    """Show the ledgers that the caller may see."""
    listed = await view.api.get("/ledgers", **view.asked("cursor", "order"))
    found = listed.content
    many = len(found["data"])
    sentence = (
        f"You may see {many} ledger{'' if many == 1 else 's'}."
        if many
        else "There is no ledger that you may see."
    )
    return Shown("Ledgers", sentence, {**found, "head": listed.head}, listed.position)


@page("/console/ledgers/{ledger}", template="ledger.html")
async def show_ledger(view: View) -> Shown:
    """Show one ledger: what it is, what has been posted in it, and the ways on."""
    ledger, totals = await asyncio.gather(
        view.api.get(view.resource), view.api.get(f"{view.resource}/trial-balance", clock="recorded")
    )
    data = totals.content["data"]
    values = {"ledger": ledger.content, "totals": data, "head": totals.head}
    return Shown(f"The ledger {view.ledger}", sentence_of(data, "now"), values, totals.position)
