"""Finding poison events, without I/O: tables are a list, and a savepoint is a copy of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.journal.encoding import NewerVersion, UnreadableEvent
from domain.model.events import Envelope, Recorded
from domain.model.ledgers import LedgerOpened
from projections.engine.poison import POISON, Full, PoisonFinder, UnreadablePoison, describe
from projections.engine.projection import Inconsistent

ENVELOPE = Envelope(
    recorded_at="2026-01-01T00:00:00.000000Z",
    actor="tester",
    correlation_id="c",
    causation_id="c",
    idempotency_key=None,
    traceparent=None,
)


class Tables:
    """The rows written. Events at the poison positions cannot be written."""

    def __init__(self, *poison: int) -> None:
        self.rows: list[Recorded] = []
        self.writes = 0
        self._poison = set(poison)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        kept = list(self.rows)
        try:
            yield
        except BaseException:
            self.rows = kept
            raise

    def write(self, events: Sequence[Recorded]) -> None:
        for event in events:
            self.writes += 1
            if event.position in self._poison:
                raise Inconsistent(f"event {event.position}")
            self.rows.append(event)

    @property
    def positions(self) -> list[int]:
        return [event.position for event in self.rows]


def event(position: int, stream: str) -> Recorded:
    return Recorded(stream, 1, position, ENVELOPE, LedgerOpened(metadata={}))


def isolated(
    tables: Tables, events: Sequence[Recorded | UnreadablePoison], *held: str, room: int = 100
) -> PoisonFinder:
    isolation = PoisonFinder(tables.savepoint, tables.write, set(held), room)
    isolation.apply(events)
    return isolation


def test_a_poison_event_holds_what_follows_in_its_stream_and_nothing_else() -> None:
    tables = Tables(3)
    events = [event(position, stream) for position, stream in enumerate("abacabb", start=1)]
    isolation = isolated(tables, events)
    assert [(poison.stream, poison.position) for poison in isolation.poison] == [("a", 3)]
    assert "event 3" in str(isolation.poison[0].error)
    assert tables.positions == [1, 2, 4, 6, 7]


def test_what_is_held_is_left_out_without_being_tried() -> None:
    tables = Tables(1)
    assert isolated(tables, [event(1, "a"), event(2, "b"), event(3, "a")], "a").poison == []
    assert tables.positions == [2]


def test_an_event_that_cannot_be_read_is_poison() -> None:
    tables = Tables()
    unreadable = UnreadablePoison("b", 2, UnreadableEvent("event 2"))
    isolation = isolated(tables, [event(1, "b"), unreadable, event(3, "a"), event(4, "b")])
    assert [poison.position for poison in isolation.poison] == [2]
    assert tables.positions == [1, 3]


def test_one_stream_too_many_ends_it_before_its_event() -> None:
    tables = Tables(2, 4, 6)
    with pytest.raises(Full) as full:
        isolated(tables, [event(position, f"s{position}") for position in range(1, 9)], room=2)
    assert full.value.poison.position == 6
    assert tables.positions == [1, 3, 5]
    assert "event 6 of s6: Inconsistent: event 6" in str(full.value)


@given(st.lists(st.sampled_from("abcdef"), max_size=60), st.sets(st.integers(1, 60), max_size=8))
def test_everything_before_the_first_poison_event_of_each_stream_is_written(
    streams: list[str], poison: set[int]
) -> None:
    tables = Tables(*poison)
    events = [event(position, stream) for position, stream in enumerate(streams, start=1)]
    found = {poison.stream: poison.position for poison in isolated(tables, events).poison}
    firsts = {
        stream: min(e.position for e in events if e.stream == stream and e.position in poison)
        for stream in {e.stream for e in events if e.position in poison}
    }
    assert found == firsts
    assert tables.positions == [e.position for e in events if e.position < firsts.get(e.stream, 61)]


def test_one_poison_event_among_many_costs_about_as_much_again() -> None:
    tables = Tables(3333)
    isolated(tables, [event(position, f"s{position}") for position in range(1, 5001)])
    assert len(tables.rows) == 4999
    assert tables.writes < 3 * 5000


@pytest.mark.parametrize(
    "passing",
    [psycopg.OperationalError, psycopg.errors.DeadlockDetected, psycopg.errors.DiskFull, MemoryError],
)
def test_what_may_pass_is_no_events_fault(passing: type[Exception]) -> None:
    def write(events: Sequence[Recorded]) -> None:
        raise passing("now")

    with pytest.raises(passing):
        PoisonFinder(Tables().savepoint, write, set(), 9).apply([event(1, "a"), event(2, "b")])


@pytest.mark.parametrize(
    "poison",
    [
        Inconsistent,
        psycopg.errors.UniqueViolation,
        psycopg.errors.NumericValueOutOfRange,
        psycopg.errors.ProgramLimitExceeded,
        ValueError,
        KeyError,
        AssertionError,
        ZeroDivisionError,
    ],
)
def test_what_will_not_pass_is_poison(poison: type[Exception]) -> None:
    assert issubclass(poison, POISON)


def test_an_exception_in_words_says_what_it_came_from() -> None:
    error = NewerVersion("event 3")
    error.__cause__ = KeyError("entries")
    assert describe(error) == "NewerVersion: event 3, from KeyError: 'entries'"
