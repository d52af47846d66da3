"""Now: whether the books balance, what needs somebody, and how far everything is."""

from api.console.view import Shown, View, page


@page("/console", template="now.html")
async def show_now(view: View) -> Shown:
    """Show how things are."""
    projections = await view.api.look("/projections")
    return Shown(
        "Now",
        "This is how things are.",
        {"projections": projections.content if not projections.is_refusal else None},
    )
