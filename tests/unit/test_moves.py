"""Ledgers that move: who is refused, and where positions are shown."""

from collections.abc import Sequence

import pytest
from hypothesis import given as each
from hypothesis import strategies as st

from domain.commit.decider import Decider, Result, Submission
from domain.journal.shown_positions import ShownPositions
from domain.model.commands import Command, Outcome
from domain.model.errors import LedgerMoved, LedgerMoving
from domain.model.holds import ExpireHold
from domain.model.ledgers import Ledger, OpenLedger
from domain.model.moves import Arrived, Fence, Moved, MoveStarted, MoveState, offset_at
from domain.model.streams import ledger_stream
from projections.audit.move_rules import MoveRules
from projections.audit.stored import Stored
from tests.unit.given_when_then import CONTEXT, NOW, a_ledger, given


def decided(fence: Fence, *commands: Command, all_or_none: bool = False) -> Sequence[Result]:
    """What a decider answers while the ledger main is fenced."""
    decider = Decider(lambda: NOW)
    decider.fences = {"main": fence}
    needed = {stream for command in commands for stream in command.streams()}
    decider.learn(needed, ())
    batch = decider.decide([Submission(commands, lambda _: None, all_or_none)], needed)
    assert not batch.rows.streams or {"other/ledger"} == set(batch.rows.streams)
    return batch.results


@pytest.mark.parametrize(
    ("state", "refusal"), [("frozen", LedgerMoving), ("arriving", LedgerMoving), ("left", LedgerMoved)]
)
@pytest.mark.parametrize("all_or_none", [False, True])
def test_a_fenced_ledger_refuses_every_command(
    state: MoveState, refusal: type[Exception], all_or_none: bool
) -> None:
    commands = OpenLedger(CONTEXT, "main", {}), ExpireHold(CONTEXT, "main", "hold")
    results = decided(Fence(state, "west"), *commands, all_or_none=all_or_none)
    assert [type(result) for result in results] == [refusal] * 2


def test_other_ledgers_are_written_meanwhile() -> None:
    results = decided(
        Fence("left", "west"), OpenLedger(CONTEXT, "other", {}), OpenLedger(CONTEXT, "main", {})
    )
    assert isinstance(results[0], Outcome) and results[0].recorded
    assert isinstance(results[1], LedgerMoved) and results[1].details == {"installation": "west"}


def test_a_move_changes_nothing_of_a_ledger_but_its_version() -> None:
    stream = ledger_stream("main")
    before = given(*a_ledger("USD/2")).journal.states[stream]
    after = given(
        *a_ledger("USD/2"),
        (stream, MoveStarted(to_installation="west")),
        (stream, Moved(to_installation="west", events=2, root="")),
        (stream, Arrived(from_installation="east", position=5, offset=0)),
    ).journal.states[stream]
    assert isinstance(after, Ledger)
    assert after._replace(version=before.version, position=before.position) == before
    assert after.version == before.version + 3


def test_positions_of_a_ledger_that_never_moved_are_shown_as_they_are() -> None:
    positions = ShownPositions()
    assert [positions.shown(7), positions.own(7), positions.recorded(7)] == [7, 7, 7]


RUNS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)
"""Runs of events: how many, and how many positions of others come before each, here and where it was recorded."""


@each(RUNS, st.integers(0, 40))
def test_shown_positions_rise_with_events_and_lead_back_to_them(
    runs: list[tuple[int, int, int]], begin: int
) -> None:
    own, there, events, ranges = begin, 0, [], []
    for count, others_here, others_there in runs:
        own, there = own + others_here, there + others_there
        ranges.append((own + 1, there + 1, there + 1))
        events += [(own + number, there + number) for number in range(1, count + 1)]
        own, there = own + count, there + count
    arrival = own + 1
    offset = offset_at(arrival, there)
    ranges.append((arrival, arrival + offset, arrival))
    positions = ShownPositions(ranges)
    for here, shown in events:
        assert (positions.shown(here), positions.own(shown), positions.recorded(here)) == (shown, here, shown)
    assert positions.shown(arrival) > there
    assert positions.own(positions.shown(arrival + 3)) == arrival + 3
    everywhere = [positions.shown(position) for position in range(arrival + 3)]
    assert everywhere == sorted(everywhere)
    back = [positions.own(shown) for shown in range(there + 3)]
    assert back == sorted(back)
    for shown in range(there + 1):
        assert [here for here, at in events if at <= shown] == [
            here for here, _ in events if here <= positions.own(shown)
        ]


def stored(topic: str, stream: str = "main/ledger", time: int = 1, **data: str) -> Stored:
    return Stored(stream, 1, topic, 1, {"recorded_at": str(time)}, data)


def broken(*events: Stored) -> list[str]:
    rules = MoveRules()
    return [found.code for event in events for found in rules.read(event)]


def test_nothing_follows_the_beginning_of_a_move_but_its_end() -> None:
    started, moved, posted = (
        stored(topic) for topic in ("ledger.move_started", "ledger.moved", "account.entries_posted")
    )
    cancelled, arrived = stored("ledger.move_cancelled"), stored("ledger.arrived")
    assert not broken(posted, started, cancelled, posted, started, moved, arrived, posted, started)
    assert broken(started, posted) == ["event_misplaced"]
    assert broken(started, moved, posted) == ["event_misplaced"]
    assert broken(started, moved, cancelled) == ["event_misplaced"]


def test_times_of_copies_rise_among_themselves() -> None:
    begun = stored("ledger.arrival_begun", "-/arrivals/main", ledger="main")
    ended = stored("ledger.arrival_ended", "-/arrivals/main", ledger="main")
    first, second = stored("account.opened", time=1), stored("account.opened", time=2)
    assert not broken(begun, first, second, ended, first)
    assert broken(begun, second, first) == ["time_reversed"]
