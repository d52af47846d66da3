"""Deliveries to a webhook, each with its attempts."""

import asyncio
from collections.abc import Mapping
from typing import Any

from api.console.actions.action import Action, action
from api.console.actions.fields import ANY_REASON, REASON
from api.console.view import Shown, View, page
from projections.diagnosis.glossary import term

PAGE_SIZE = 50
STATES = ("pending", "sent", "acknowledged", "failed", "suppressed")

action(
    Action(
        "retry-delivery",
        "Send again",
        "Send this delivery again?",
        "It is tried at once, and its schedule of attempts starts again. The receiver may get it twice: it recognises"
        " it by its id.",
        "/v1/webhooks/{id}/deliveries/{delivery}/retry",
        fields=(ANY_REASON,),
    )
)
action(
    Action(
        "discard-delivery",
        "Discard",
        "Give up this delivery?",
        "The receiver is not told of this event. Those behind it in its partition key go on.",
        "/v1/webhooks/{id}/deliveries/{delivery}/discard",
        fields=(REASON,),
        is_grave=True,
    )
)


@page("/console/webhooks/{id}/deliveries", template="deliveries.html")
async def show_deliveries(view: View) -> Shown:
    """Show the deliveries to a receiver, the newest first unless the address says otherwise."""
    path = f"/webhooks/{view.names['id']}"
    asked = view.asked("state", "cursor")
    webhook, listed = await asyncio.gather(
        view.api.get(path),
        view.api.get(
            f"{path}/deliveries", page_size=PAGE_SIZE, order=view.query.get("order") or "desc", **asked
        ),
    )
    return Shown(
        "Deliveries",
        sentence(listed.content["data"], asked["state"]),
        {**listed.content, "webhook": webhook.content, "states": STATES, "state_asked": asked["state"]},
    )


@page("/console/webhooks/{id}/deliveries/{delivery}", template="delivery.html")
async def show_delivery(view: View) -> Shown:
    """Show one delivery with every attempt."""
    path = f"/webhooks/{view.names['id']}"
    webhook, delivery = await asyncio.gather(
        view.api.get(path), view.api.get(f"{path}/deliveries/{view.names['delivery']}")
    )
    about = delivery.content
    return Shown("Delivery", sentence_of(about), {"delivery": about, "webhook": webhook.content})


def sentence(deliveries: list[Mapping[str, Any]], state: str | None) -> str:
    """Return how the listed deliveries are."""
    if not deliveries:
        return f"No delivery is {term('delivery', state).words}." if state else "Nothing was sent to it yet."
    given_up = sum(each["state"] == "failed" for each in deliveries)
    waiting = sum(each["state"] in ("pending", "sent") for each in deliveries)
    if given_up:
        return f"Of the {len(deliveries)} listed, {given_up} were given up, and hold the later ones of their keys."
    if waiting:
        return f"Of the {len(deliveries)} listed, {waiting} wait to be acknowledged."
    return f"Nothing waits among the {len(deliveries)} listed."


def sentence_of(delivery: Mapping[str, Any]) -> str:
    """Return how a delivery is."""
    if delivery["state"] == "pending" and not delivery["next_attempt_at"]:
        return "It is held behind an earlier delivery of its key."
    return term("delivery", delivery["state"]).meaning
