"""Events fail, are mended, retried and discarded in any order: each stream equals its fold without discarded ones."""

from typing import Any, Literal, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from psycopg import Connection

from domain.journal.database import Database
from domain.model.accounts import ChangeAccount
from domain.model.commands import Command
from domain.model.events import Context, Recorded, State
from domain.model.registry import evolve
from projections.engine.batches import Claim, advance, read_batch, take_over
from projections.engine.dead_letters import list_letters
from projections.read_models.balances import PROJECTION, list_accounts
from projections.registry import add_version, create_indexes, drop_version
from projections.running.dead_letter_decisions import discard, retry
from projections.running.positions import progress
from tests.ledgers import CONTEXT, history, open_accounts, outcomes, running, transfer
from tests.poisoning import Poisoned, poisoned
from tests.properties.profiles import on_a_database

pytestmark = pytest.mark.integration

BY = Context("tester", "conversation")
ADDRESSES = ("a", "b", "c")
VERSION = 2


class Step(NamedTuple):
    """A step. `number` is the event or letter it concerns, or the number of positions to advance."""

    what: Literal["poison", "mend", "advance", "retry", "discard"]
    number: int


STEPS = st.lists(
    st.builds(
        Step, st.sampled_from(["poison", "poison", "mend", "advance", "retry", "discard"]), st.integers(0, 40)
    ),
    max_size=30,
)


class Stream:
    """What a projection has of one stream: the fold of the applied events, and the events still to come."""

    def __init__(self, events: list[Recorded]) -> None:
        self._events = events
        self._applied = 0
        self.state: State = None
        self.is_held = False

    @property
    def next(self) -> Recorded:
        """The first event that was not applied."""
        return self._events[self._applied]

    def go(self, upto: int, poison: set[int]) -> None:
        """Apply all events up to a position, until one fails."""
        while not self.is_held and self._applied < len(self._events) and self.next.position <= upto:
            cannot_be = self.state is None and self.next.version > 1
            if cannot_be or self.next.position in poison:
                self.is_held = True
            else:
                self.state = evolve(self.state, self.next)
                self._applied += 1

    def discard(self) -> None:
        """Discard the failed event: it counts and changes nothing else."""
        self.state = self.state and replace(self.state, version=self.next.version)
        self._applied += 1


class Projecting:
    """A version of the projection, and a model of what it must be."""

    def __init__(self, connection: Connection[Any], events: list[Recorded], failing: Poisoned) -> None:
        self._connection = connection
        self._failing = failing
        self._head = progress(connection, PROJECTION.name).head
        self._positions = [event.position for event in events]
        self._streams = {
            stream: Stream([event for event in events if event.stream == stream])
            for stream in {event.stream for event in events}
        }
        self._upto = 0
        self._claim = Claim(failing.projection, VERSION, uuid4(), "running")
        take_over(connection, self._claim)

    def take(self, step: Step) -> None:
        """Let both do one step."""
        match step.what:
            case "poison":
                self._failing.positions.add(self._positions[step.number % len(self._positions)])
            case "mend":
                self._failing.positions.discard(self._positions[step.number % len(self._positions)])
            case "advance":
                self.advance(min(self._head, self._upto + step.number))
            case "retry" | "discard":
                self._decide(step)

    def advance(self, upto: int) -> None:
        """Advance both to a position."""
        batch = read_batch(self._connection, self._claim.projection, self._upto, upto)
        assert advance(self._connection, self._claim, batch, 0.0, None)
        self._upto = upto
        for stream in self._streams.values():
            stream.go(upto, self._failing.positions)

    def _decide(self, step: Step) -> None:
        letters = list_letters(self._connection, state="open")
        if not letters:
            return
        letter = letters[step.number % len(letters)]
        stream = self._streams[letter.stream]
        stream.is_held = False
        if step.what == "retry":
            retry(self._connection, letter.id, BY)
        else:
            discard(self._connection, letter.id, BY, "chosen")
            stream.discard()
        stream.go(self._upto, self._failing.positions)

    def finish(self) -> None:
        """Mend everything, advance to the head, and retry all letters. Discard those that cannot succeed without their
        beginning.
        """
        self._failing.positions.clear()
        self.advance(self._head)
        for letter in list_letters(self._connection, state="open"):
            lost = self._streams[letter.stream].state is None and letter.stream_version > 1
            while self._streams[letter.stream].is_held:
                self._decide(Step("discard" if lost else "retry", self._number_of(letter.stream)))

    def _number_of(self, stream: str) -> int:
        letters = list_letters(self._connection, state="open")
        return [letter.stream for letter in letters].index(stream)

    def check(self) -> None:
        """Assert that both have the same rows and held events."""
        rows = list_accounts(self._connection, "main", limit=99)
        states = [stream.state for stream in self._streams.values() if stream.state is not None]
        assert rows.rows == sorted(states, key=lambda account: account.address)
        held = {name: stream.next.position for name, stream in self._streams.items() if stream.is_held}
        letters = list_letters(self._connection, state="open")
        assert {letter.stream: letter.position for letter in letters} == held
        assert rows.lacking.streams == progress(self._connection, PROJECTION.name).dead_letters == len(held)


def changes(count: int) -> list[Command]:
    """Transfers among three accounts, and between them other changes of two of these."""
    commands: list[Command] = []
    for number in range(count):
        commands.append(transfer(ADDRESSES[number % 3], ADDRESSES[(number + 1) % 3], number + 1))
        metadata = {"number": str(number)}
        commands.append(ChangeAccount(CONTEXT, "main", ADDRESSES[number % 2], metadata=metadata))
    return commands


def make_live(owner: Connection[Any], version: int) -> None:
    """Make one version of the projection the live one, and no other."""
    for change in ("live = false WHERE live", f"live = true WHERE version = {version:d}"):
        owner.execute(f"UPDATE projection_versions SET {change} AND name = 'balances'".encode())


def test_any_interleaving_ends_as_the_fold_without_what_was_discarded(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.engine.batches.PAUSES_SECONDS", (0.0, 0.0))
    with running(database) as ledger:
        open_accounts(ledger, *ADDRESSES)
        outcomes(ledger.execute(*changes(5)).result())
    # One journal for all examples: each projects it from its beginning, into its own version.
    events = [event for event in history(database) if type(event.event) in PROJECTION.events]

    @on_a_database()
    @given(STEPS)
    def holds(steps: list[Step]) -> None:
        add_version(owner, PROJECTION, VERSION, "running")
        create_indexes(owner, PROJECTION, VERSION)
        make_live(owner, VERSION)
        try:
            with poisoned("balances") as failing:
                projecting = Projecting(owner, events, failing)
                for step in steps:
                    projecting.take(step)
                    projecting.check()
                projecting.finish()
                projecting.check()
                assert list_letters(owner, state="open") == []
        finally:
            make_live(owner, 1)
            drop_version(owner, PROJECTION.name, VERSION)

    holds()
