"""Webhooks: who is told of events, whether they acknowledge, and since when they do not."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from api.console.actions.action import Action, action
from api.console.actions.fields import ANY_REASON, REASON, Field
from api.console.formats import counted
from api.console.view import Shown, View, page
from projections.diagnosis.glossary import term

PAGE_SIZE = 50
OLDEST_WAITING = 5
_EVERY = "Separate several by spaces or commas. * is every one."

action(
    Action(
        "make-webhook",
        "Register a webhook",
        "Register a webhook?",
        "From then on every event that it subscribes to is sent to it, in order for each account. The secret that signs"
        " the messages is shown once.",
        "/v1/webhooks",
        path="/make-webhook",
        fields=(
            Field(
                "url",
                "URL",
                is_required=True,
                hint="https, without credentials, leading to a public address.",
            ),
            Field("ledgers", "Ledgers", "list", is_required=True, hint=_EVERY, given="*"),
            Field("types", "Types of events", "list", is_required=True, hint=_EVERY, given="*"),
            Field("description", "Description"),
        ),
        leads_to="/webhooks",
        shows_answer=True,
    )
)
action(
    Action(
        "enable-webhook",
        "Enable",
        "Enable this webhook?",
        "It gets everything that has waited, in order, at once. The receiver recognises by their ids the messages that"
        " it had before.",
        "/v1/webhooks/{id}/enable",
        fields=(ANY_REASON,),
    )
)
action(
    Action(
        "disable-webhook",
        "Disable",
        "Disable this webhook?",
        "Nothing more is sent until it is enabled. Its deliveries wait, and none is lost.",
        "/v1/webhooks/{id}/disable",
        fields=(REASON,),
    )
)
action(
    Action(
        "delete-webhook",
        "Delete",
        "Delete this webhook?",
        "Nothing more is sent, what waits is suppressed, and its secrets are forgotten. The record of its deliveries"
        " stays.",
        "/v1/webhooks/{id}",
        method="DELETE",
        path="/webhooks/{id}/delete",
        leads_to="/webhooks",
        is_grave=True,
    )
)


@page("/console/webhooks", template="webhooks.html")
async def show_webhooks(view: View) -> Shown:
    """Show the receivers, in the order in which they were registered."""
    listed = await view.api.get("/webhooks", page_size=PAGE_SIZE, **view.asked("cursor", "order"))
    found = listed.content
    return Shown(
        "Webhooks", sentence(found["data"], sees_all=view.sees_all, has_more=_has_more(view, found)), found
    )


def _has_more(view: View, found: Mapping[str, Any]) -> bool:
    """Return whether the list has other pages."""
    return found["next_cursor"] is not None or "cursor" in view.query


@page("/console/webhooks/{id}", template="webhook.html")
async def show_webhook(view: View) -> Shown:
    """Show one receiver."""
    path = f"/webhooks/{view.names['id']}"
    webhook, waiting = await asyncio.gather(
        view.api.get(path),
        view.api.get(f"{path}/deliveries", state="pending", page_size=OLDEST_WAITING),
    )
    about = webhook.content
    return Shown("Webhook", sentence_of(about), {"webhook": about, "waiting": waiting.content["data"]})


def sentence(webhooks: Sequence[Mapping[str, Any]], *, sees_all: bool, has_more: bool) -> str:
    """Return how many receivers are listed, and how many of them get nothing."""
    if not webhooks:
        return "Nobody is told of events." if sees_all else "No receiver that you may see is told of events."
    said = f"{counted(len(webhooks), 'receiver is', 'receivers are')} {'on this page' if has_more else 'registered'}."
    disabled = sum(webhook["state"] == "disabled" for webhook in webhooks)
    failing = sum(bool(webhook["failing_since"]) and webhook["state"] == "enabled" for webhook in webhooks)
    if disabled:
        said += f" {counted(disabled, 'is', 'are')} disabled: their events wait."
    if failing:
        said += f" {counted(failing, 'does', 'do')} not acknowledge now."
    return said


def sentence_of(webhook: Mapping[str, Any]) -> str:
    """Return how a receiver is."""
    if webhook["state"] == "enabled" and webhook["failing_since"]:
        return "It does not acknowledge now. Attempts go on by themselves."
    return term("webhook", webhook["state"]).meaning
