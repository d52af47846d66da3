"""The ledgers, and one ledger."""

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
