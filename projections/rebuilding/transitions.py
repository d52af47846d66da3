"""The states of a rebuild, and which action takes a rebuild from which state to which. Pure.

A rebuild is controlled by operators and carried out by processes at the same time. So every statement that changes a
state takes the moves of its action from here, and compares them with the state that the row has at that moment.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic_core import to_json

RebuildState = Literal[
    "requested", "filling", "comparing", "paused", "differing", "failed", "switched", "cancelled"
]

UNDER_WAY: tuple[RebuildState, ...] = ("requested", "filling", "comparing")
"""The states in which any rebuilder that finds the rebuild carries it out."""

UNENDED: tuple[RebuildState, ...] = (*UNDER_WAY, "paused", "differing", "failed")
"""The states of a rebuild that still has a version of its own. A projection has one such rebuild at most."""

Action = Literal[
    "request", "accept", "pause", "resume", "cancel", "try_again",
    "begin", "fill", "note", "fail", "compare", "agree", "differ", "switch",
]  # fmt: skip

TRANSITIONS: Mapping[Action, Mapping[RebuildState, RebuildState]] = {
    # Operators. A request for another rebuild keeps one that can go on. It cancels any other, and begins anew.
    "request": {"requested": "requested", "filling": "filling", "comparing": "comparing", "paused": "paused"},
    # A rebuild that stopped at a difference compares again, since the live version has moved on.
    "accept": {
        "requested": "requested",
        "filling": "filling",
        "comparing": "comparing",
        "paused": "paused",
        "differing": "requested",
    },
    "pause": {"requested": "paused", "filling": "paused", "comparing": "paused", "paused": "paused"},
    "resume": {
        "requested": "requested",
        "filling": "filling",
        "comparing": "comparing",
        "paused": "requested",
    },
    "cancel": dict.fromkeys(UNENDED, "cancelled"),
    # A release that starts up: what failed under another release may succeed under this one.
    "try_again": {"failed": "requested"},
    # The rebuilder. A rebuild that was interrupted continues in the state that it was in.
    "begin": {"requested": "filling", "filling": "filling", "comparing": "comparing"},
    "fill": {"filling": "filling"},
    "note": {state: state for state in UNDER_WAY},
    "fail": dict.fromkeys(UNDER_WAY, "failed"),
    # The switchover.
    "compare": {"filling": "comparing", "comparing": "comparing"},
    "agree": {"comparing": "comparing"},
    "differ": {"comparing": "differing"},
    "switch": {"comparing": "switched"},
}
"""For each action, the states in which it is allowed, each with the state that follows. In others it does nothing."""


def is_allowed(action: Action, state: RebuildState) -> bool:
    """Tell whether the action is allowed in the state."""
    return state in TRANSITIONS[action]


def moves(action: Action) -> str:
    """Return the action's transitions as the JSON object that the queries look their row's state up in."""
    return to_json(TRANSITIONS[action]).decode()
