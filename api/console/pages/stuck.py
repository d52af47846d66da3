"""Stuck: everything that is older than it should be, why, and what is safe to do about it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from api.console.actions.next_steps import Step, Unsafe, next_steps, unsafe_steps
from api.console.formats import counted, duration
from api.console.pages.now import needs_somebody
from api.console.view import Shown, View, page
from projections.diagnosis.glossary import Tone
from projections.diagnosis.stuck.catalogue import CATALOGUE

PAGE_SIZE = 25

_COMMAND = re.compile(r"`([^`]+)`|To end it: (SELECT [^;]+;)")
_TONES: Mapping[str, Tone] = {"wait": "wait", "ask_provider": "doubt"}


class StuckThing(NamedTuple):
    """A stuck thing with what is safe to do. `about` is the API's record of it.

    `commands` are what to paste into a shell or psql. `tone` says how it is to be taken.
    """

    about: Mapping[str, Any]
    steps: Sequence[Step]
    unsafe: Sequence[Unsafe]
    commands: Sequence[str]
    tone: Tone

    @property
    def needs_commands(self) -> bool:
        """Whether nothing that the API offers does what is safe to do, but a command does."""
        is_action = any(step.action for step in self.steps)
        return bool(self.commands) and self.about["remedy"] != "wait" and not is_action


@page("/console/stuck")
async def show_stuck(view: View) -> Shown:
    """Show what is stuck, the oldest first."""
    asked = view.asked("kind", "cursor")
    listed = await view.api.get("/stuck", page_size=PAGE_SIZE, **asked)
    found = listed.content
    things = [thing_of(about) for about in found["data"]]
    totals = [total for total in found["totals"] if total["count"]]
    return Shown(
        "Stuck",
        sentence(totals, sees_all=view.sees_all, is_whole=not found.get("unanswered")),
        {
            "things": things,
            "totals": totals,
            "next_cursor": found["next_cursor"],
            "kind": asked["kind"],
            "unanswered": found.get("unanswered"),
            "called": lambda kind: CATALOGUE[kind].called,
        },
    )


def thing_of(about: Mapping[str, Any]) -> StuckThing:
    """Return a stuck thing of the API with what is safe to do about it."""
    remedy, resource = about["remedy"], about["resource"]
    return StuckThing(
        about,
        next_steps(remedy, resource),
        unsafe_steps(remedy, resource),
        commands_in(f"{about['safe_to_do']} {about['why']}"),
        _TONES.get(remedy, "bad"),
    )


def commands_in(words: str) -> list[str]:
    """Return the commands in the words of the API, ready to paste, each once."""
    found = (quoted or statement for quoted, statement in _COMMAND.findall(words))
    return list(dict.fromkeys(command for command in found if command.startswith(("tallystick ", "SELECT "))))


def sentence(totals: Sequence[Mapping[str, Any]], *, sees_all: bool, is_whole: bool = True) -> str:
    """Return how much is stuck, and whether somebody must act. It `is_whole` if every installation has answered."""
    if not totals and not is_whole:
        return "Nothing is stuck where it could be said."
    if not totals:
        return f"Nothing {'' if sees_all else 'that you may see '}is stuck."
    many = sum(total["count"] for total in totals)
    oldest = max(total["oldest_age_seconds"] for total in totals)
    acts = sum(total["count"] for total in totals if needs_somebody(total["kind"]))
    verb = "is" if many == 1 else "are"
    said = f"{counted(many, 'thing')} {verb} stuck, the oldest for {duration(oldest)}."
    if acts == many:
        return said
    if not acts:
        return f"{said} {'It goes on by itself' if many == 1 else 'They go on by themselves'}."
    return f"{said} {counted(many - acts, 'of them goes on by itself', 'of them go on by themselves')}."
