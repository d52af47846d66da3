"""Finds the events that cannot be applied, so that each holds up only its own stream.

A batch that fails is written in halves, and a half that fails is halved again. One poison event among 5,000 costs about
as much again as writing the batch two or three times.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import psycopg
from msgspec import MsgspecError

from domain.journal.encoding import UnreadableEvent
from domain.model.events import Recorded
from projections.engine.projection import Inconsistent

POISON = (
    Inconsistent,
    UnreadableEvent,
    # The rows of an event do not fit the tables. psycopg counts a row too large for an index as an operational error.
    psycopg.IntegrityError,
    psycopg.DataError,
    psycopg.errors.ProgramLimitExceeded,
    # What decoding and folding raise for events in an order or with contents that no release of this project writes.
    MsgspecError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
)
"""Errors that repeat however often the event is tried. Any other error may pass, and is no event's fault."""

Write = Callable[[Sequence[Recorded]], None]
"""Writes the changes that events make, given in the order of positions."""


Savepoint = Callable[[], AbstractContextManager[object]]
"""Begins a part of the caller's transaction that is rolled back if it raises, like `Connection.transaction`."""


class UnreadablePoison(NamedTuple):
    """Stands for an event that cannot be decoded: only its stream, its position and the error are known."""

    stream: str
    position: int
    error: UnreadableEvent


class Poison(NamedTuple):
    """An event that cannot be applied, and the error."""

    stream: str
    position: int
    error: Exception


class Full(Exception):
    """One more stream than allowed would be held. Everything before its poison event is written."""

    def __init__(self, poison: Poison) -> None:
        super().__init__(f"event {poison.position} of {poison.stream}: {describe(poison.error)}")
        self.poison = poison


class PoisonFinder:
    """Writes events within the caller's transaction, and sets aside those that cannot be applied."""

    def __init__(self, savepoint: Savepoint, write: Write, held: set[str], room: int) -> None:
        """`held` are the streams already held behind poison events. `room` is how many more may be held."""
        self._savepoint = savepoint
        self._write = write
        self._held = held
        self._room = room
        self.poison: list[Poison] = []
        """The first event of each stream that could not be applied, in the order of positions."""

    def apply(self, events: Sequence[Recorded | UnreadablePoison]) -> None:
        """Write events, given in the order of positions, without the poison ones and what follows in their streams.

        Raises `Full`.
        """
        free = [event for event in events if event.stream not in self._held]
        if not free:
            return
        try:
            with self._savepoint():
                self._write([_readable(event) for event in free])
        except POISON as error:
            if len(free) == 1:
                self._set_aside(Poison(free[0].stream, free[0].position, error))
            else:
                self.apply(free[: len(free) // 2])
                self.apply(free[len(free) // 2 :])

    def _set_aside(self, poison: Poison) -> None:
        if len(self.poison) == self._room:
            raise Full(poison)
        self.poison.append(poison)
        self._held.add(poison.stream)


def _readable(event: Recorded | UnreadablePoison) -> Recorded:
    if isinstance(event, UnreadablePoison):
        raise event.error
    return event


def describe(error: BaseException) -> str:
    """Return an exception in words: its type, its message, and its cause."""
    words = f"{type(error).__name__}: {error}"
    return f"{words}, from {describe(error.__cause__)}" if error.__cause__ else words
