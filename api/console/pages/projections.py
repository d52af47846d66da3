"""Projections: how far each read model is, its versions side by side, and its rebuild."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from api.console.actions.action import Action, action
from api.console.actions.fields import ANY_REASON, Field
from api.console.formats import counted, duration, grouped
from api.console.view import Sent, Shown, View, page
from projections.diagnosis.glossary import term

_ROUTE = "/v1/projections/{name}"
_PAGE = "/projections/{name}"

action(
    Action(
        "pause-projection",
        "Pause",
        "Pause this projection?",
        "It takes in no more events until it is resumed, even across restarts. Reads go on, and state its position. No"
        " money is touched.",
        f"{_ROUTE}/pause",
        fields=(ANY_REASON,),
        leads_to=_PAGE,
    )
)
action(
    Action(
        "resume-projection",
        "Resume",
        "Resume this projection?",
        "It goes on where it stopped. If it had halted, it meets the same event again, and halts again unless the cause"
        " was mended.",
        f"{_ROUTE}/resume",
        fields=(ANY_REASON,),
        leads_to=_PAGE,
    )
)
action(
    Action(
        "rebuild-projection",
        "Rebuild",
        "Rebuild this projection?",
        "A new version is filled beside the live one, from the journal, and compared with it. If both are equal it"
        " replaces the live one; if not, it waits for your decision. Reads never stop.",
        f"{_ROUTE}/rebuild",
        fields=(
            ANY_REASON,
            Field(
                "accept_difference",
                "Why a difference is right",
                hint="Only if the new version is to go live even where it differs. Kept with the rebuild.",
            ),
        ),
        leads_to=_PAGE,
        is_grave=True,
    )
)
action(
    Action(
        "pause-rebuild",
        "Pause the rebuild",
        "Pause this rebuild?",
        "It stays where it is until it is resumed. The live version is not concerned.",
        f"{_ROUTE}/rebuild/pause",
        fields=(ANY_REASON,),
        leads_to=_PAGE,
    )
)
action(
    Action(
        "resume-rebuild",
        "Resume the rebuild",
        "Resume this rebuild?",
        "It goes on where it stopped.",
        f"{_ROUTE}/rebuild/resume",
        fields=(ANY_REASON,),
        leads_to=_PAGE,
    )
)
action(
    Action(
        "cancel-rebuild",
        "Cancel the rebuild",
        "Cancel this rebuild?",
        "What it has built is dropped. The live version is not concerned.",
        f"{_ROUTE}/rebuild/cancel",
        fields=(ANY_REASON,),
        leads_to=_PAGE,
        is_grave=True,
    )
)


class Version(NamedTuple):
    """One version of a projection: the live one, the one being built, or one that this release does not read.

    `percent` is how much of its target is done, `seconds_left` how long the rest takes; None if that is not known.
    """

    number: int
    role: str
    thing: str
    state: str
    position: int
    target: int
    rate_events_per_second: float | None = None
    seconds_left: float | None = None

    @property
    def percent(self) -> int:
        """How much of the target is done, rounded down."""
        return min(100, self.position * 100 // self.target) if self.target else 100


@page("/console/projections", template="projections.html")
async def show_projections(view: View) -> Shown:
    """Show every projection in a line."""
    listed = await view.api.get("/projections", **view.asked("cursor"))
    found = listed.content
    return Shown("Projections", sentence_of_all(found["data"]), found)


@page("/console/projections/{name}", template="projection.html")
async def show_projection(view: View) -> Shown | Sent:
    """Show one projection, and its rebuild if there is one.

    In a placement an address that names no installation leads to the list, which has those of each.
    """
    if view.installations and view.installation is None:
        return Sent("/console/projections")
    asked = view.asked("installation")
    found = (await view.api.get(f"/projections/{view.names['name']}", **asked)).content
    return Shown(
        found["name"],
        sentence_of(found),
        {"projection": found, "rebuild": found["rebuild"], "versions": list(versions_of(found))},
        found["position"],
    )


def sentence_of_all(projections: list[Mapping[str, Any]]) -> str:
    """Return how many projections show everything, and how old the oldest answers are."""
    late = [each for each in projections if each["lag_events"]]
    if not late:
        return "Every projection shows everything that is recorded."
    furthest = max(late, key=lambda each: each["lag_seconds"])
    verb = "lacks" if len(late) == 1 else "lack"
    return (
        f"{counted(len(late), 'projection')} of {len(projections)} {verb} events. {furthest['name']} is furthest"
        f" behind: by {duration(furthest['lag_seconds'])}."
    )


def sentence_of(projection: Mapping[str, Any]) -> str:
    """Return how a projection is, how old its answers are, and why if that is known."""
    said = [_why(projection)]
    if projection["lag_events"]:
        said.append(
            f"The oldest event that it lacks was recorded {duration(projection['lag_seconds'])} ago; it lacks"
            f" {counted(projection['lag_events'], 'event').lower()}."
        )
    elif projection["state"] != "rebuilding":
        said.append(f"It shows everything up to position {grouped(projection['position'])}, the newest.")
    if projection["dead_letters"]:
        said.append(
            f"{counted(projection['dead_letters'], 'stream is', 'streams are')} held behind dead letters."
        )
    return " ".join(said)


def _why(projection: Mapping[str, Any]) -> str:
    """Return the meaning of a projection's state; of a paused one, also who paused it and why."""
    by = projection["controlled"]
    if projection["state"] != "paused" or not by:
        return term("projection", _state_of(projection)).meaning
    reason = f" and said why: {by['reason']}." if by["reason"] else "."
    return f"{by['by']} paused it{reason} Its answers get older."


def _state_of(projection: Mapping[str, Any]) -> str:
    state: str = projection["state"]
    return "behind" if state == "running" and projection["lag_seconds"] >= 1 else state


def versions_of(projection: Mapping[str, Any]) -> Iterator[Version]:
    """Yield the versions of a projection: the live one first, then the one being built, then the others."""
    yield Version(
        projection["version"],
        "read now",
        "projection",
        _state_of(projection),
        projection["position"],
        projection["head"],
        projection["rate_events_per_second"],
    )
    if rebuild := projection["rebuild"]:
        yield Version(
            rebuild["version"],
            "being built",
            "rebuild",
            rebuild["state"],
            rebuild["position"],
            rebuild["target"],
            rebuild["rate_events_per_second"],
            rebuild["seconds_left"],
        )
    for other in projection["unread_versions"]:
        yield Version(
            other["version"],
            f"not read by this release (shape {other['shape']})",
            "projection",
            other["state"],
            other["position"],
            projection["head"],
        )
