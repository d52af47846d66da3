"""What each action does to a rebuild, for every action in every state."""

from typing import get_args

import pytest

from domain.journal.queries import load
from domain.release import ROOT
from projections.rebuilding.transitions import (
    TRANSITIONS,
    UNDER_WAY,
    UNENDED,
    Action,
    RebuildState,
    is_allowed,
)

REBUILDING = ROOT / "projections" / "rebuilding"
STATES: tuple[RebuildState, ...] = get_args(RebuildState)
ACTIONS: tuple[Action, ...] = get_args(Action)

AFTER: dict[Action, str] = {
    # requested, filling, comparing, paused, differing, failed, switched, cancelled
    "request": "requested filling   comparing paused    -         -         - -",
    "accept": " requested filling   comparing paused    requested -         - -",
    "pause": "  paused    paused    paused    paused    -         -         - -",
    "resume": " requested filling   comparing requested -         -         - -",
    "cancel": " cancelled cancelled cancelled cancelled cancelled cancelled - -",
    "try_again": "-       -         -         -         -         requested - -",
    "begin": "  filling   filling   comparing -         -         -         - -",
    "fill": "   -         filling   -         -         -         -         - -",
    "note": "   requested filling   comparing -         -         -         - -",
    "fail": "   failed    failed    failed    -         -         -         - -",
    "compare": "-         comparing comparing -         -         -         - -",
    "agree": "  -         -         comparing -         -         -         - -",
    "differ": " -         -         differing -         -         -         - -",
    "switch": " -         -         switched  -         -         -         - -",
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_in_every_state(action: Action, state: RebuildState) -> None:
    after = AFTER[action].split()[STATES.index(state)]
    assert TRANSITIONS[action].get(state, "-") == after
    assert is_allowed(action, state) == (after != "-")


def test_the_table_has_every_action() -> None:
    assert TRANSITIONS.keys() == set(ACTIONS)


def test_an_ended_rebuild_stays_as_it_is() -> None:
    assert set(STATES) - set(UNENDED) == {"switched", "cancelled"}
    assert not any(is_allowed(action, state) for action in ACTIONS for state in set(STATES) - set(UNENDED))


def test_every_state_can_be_reached_and_left_for_an_end() -> None:
    reached: set[RebuildState] = {"requested"}
    for _ in STATES:
        reached |= {moves[state] for moves in TRANSITIONS.values() for state in reached if state in moves}
    assert reached == set(STATES)
    assert all(TRANSITIONS["cancel"][state] == "cancelled" for state in UNENDED)


def test_only_rebuilds_under_way_are_carried_out() -> None:
    carried_out: tuple[Action, ...] = (
        "begin",
        "fill",
        "note",
        "fail",
        "compare",
        "agree",
        "differ",
        "switch",
    )
    for action in carried_out:
        assert TRANSITIONS[action].keys() <= set(UNDER_WAY), action


def test_no_other_text_names_the_states() -> None:
    named = {
        (module, name)
        for module in sorted(file.stem for file in REBUILDING.glob("*.sql"))
        for name, text in load(f"projections.rebuilding.{module}").items()
        if any(f"'{state}'" in text for state in STATES)
    }
    # These choose versions of tables, which have states of their own, or look for what was cancelled.
    assert named == {("requests", "cancelled")}


def test_what_a_release_does_as_it_starts_up_is_in_the_table() -> None:
    text = load("projections.registry")["try_again"]
    ((former, later),) = TRANSITIONS["try_again"].items()
    assert f"SET state = '{later}'" in text and f"AND state = '{former}'" in text
