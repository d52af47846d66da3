"""Held: dead letters, with the event, what waits behind it, and what a retry would do."""

import json
from collections.abc import Mapping
from typing import Any

from api.console.actions.action import Action, action
from api.console.actions.fields import ANY_REASON, REASON
from api.console.formats import counted
from api.console.view import Shown, View, page
from domain.model.streams import ledger_of
from projections.diagnosis.glossary import term

PAGE_SIZE = 50
MAX_CHARACTERS = 20_000
"""So much of an event's content is shown. The page of the event says more."""


def foretold(letter: Mapping[str, Any]) -> str:
    """Return in words what a retry would do, from the letter as it would leave it."""
    if letter["state"] == "open":
        return f"it would fail again, with this reason: {letter['message']}"
    if letter["state"] != "resolved":
        return f"nothing would change. It is {term('dead_letter', letter['state']).words}."
    if letter["closed"]["followed_by"]:
        return (
            "its event would be applied. A later event of the stream would fail, and hold the rest behind it."
        )
    return "its event would be applied, and everything held behind it."


action(
    Action(
        "retry-dead-letter",
        "Retry",
        "Retry this dead letter?",
        "Its event is applied, and then, in order, what waits behind it. If it fails again, nothing changes but its"
        " reason. No money is touched.",
        "/v1/dead-letters/{id}/retry",
        fields=(ANY_REASON,),
        foretell=foretold,
    )
)
action(
    Action(
        "discard-dead-letter",
        "Discard",
        "Discard this dead letter?",
        "This version of the projection goes on without the event, for good. The journal keeps it, and a rebuild meets"
        " it again. What waits behind it is applied.",
        "/v1/dead-letters/{id}/discard",
        fields=(REASON,),
        is_grave=True,
    )
)


@page("/console/dead-letters", template="dead_letters.html")
async def show_dead_letters(view: View) -> Shown:
    """Show dead letters, the oldest first: the open ones, unless the address asks for others."""
    asked = {"state": "open", **view.query}
    listed = await view.api.get(
        "/dead-letters",
        page_size=PAGE_SIZE,
        state=asked["state"] or None,
        **view.asked("projection", "cursor", "order"),
    )
    found = listed.content
    return Shown(
        "Dead letters", sentence(found, asked["state"], is_whole=_is_whole(view)), {**found, "asked": asked}
    )


@page("/console/dead-letters/{id}", template="dead_letter.html")
async def show_dead_letter(view: View) -> Shown:
    """Show one dead letter, and the event that it is about if the caller may read events."""
    letter = (await view.api.get(f"/dead-letters/{view.names['id']}")).content
    ledger = ledger_of(letter["stream"])
    events = f"/ledgers/{ledger}/events"
    event = await view.api.look(events, after=letter["position"] - 1, page_size=1)
    found = [] if event.is_refusal else event.content["data"]
    about = next((each for each in found if each["position"] == letter["position"]), None)
    return Shown(
        "Dead letter",
        sentence_of(letter),
        {
            "letter": letter,
            "ledger": ledger,
            "event": about,
            "payload": json.dumps(about["payload"], indent=2, ensure_ascii=False)[:MAX_CHARACTERS]
            if about
            else "",
            "may_read_events": not event.is_refusal,
        },
    )


def _is_whole(view: View) -> bool:
    """Return whether nothing is left out of the list, neither by filters nor since the caller may not see it."""
    return view.sees_all and not view.query.get("projection") and not view.query.get("cursor")


def sentence(found: Mapping[str, Any], state: str, *, is_whole: bool) -> str:
    """Return how many dead letters are listed, in words."""
    many, more = len(found["data"]), found["next_cursor"] is not None
    words = f"{term('dead_letter', state).words} " if state else ""
    if not many:
        is_none = is_whole and state == "open"
        return "No event was set aside." if is_none else f"No {words}dead letter is listed."
    count = f"{many} and more" if more else counted(many, "").strip()
    return f"{count} {words}dead letter{'' if many == 1 and not more else 's'}."


def sentence_of(letter: Mapping[str, Any]) -> str:
    """Return how a dead letter is, and what waits behind it."""
    meaning = term("dead_letter", letter["state"]).meaning
    if letter["state"] != "open":
        return meaning
    waits = counted(letter["held_events"], "event waits", "events wait")
    return f"The projection {letter['projection']} could not apply an event, and set it aside. {waits} behind it."
