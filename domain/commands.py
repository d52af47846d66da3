"""What a command is: a request to change the ledger, decided in memory against folded aggregates.

A command names the streams it has to know, then decides. Deciding is pure: no I/O, no clock, no randomness. It returns
the events to record, or raises the refusal that leaves nothing behind (domain/errors.py).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from domain.events import Context, Event, State
from domain.times import Instant

Read = Callable[[str], State]
"""Returns the state of a stream that the command named, `None` where it has no events."""


class Decision(NamedTuple):
    """What a command leads to.

    `events` are (stream, event) in the order in which they are recorded, the command's own last. `stream` is the
    stream whose state is the answer. `replayed` says that a keyed request was decided before: the answer is then the
    first one again.
    """

    events: Sequence[tuple[str, Event]]
    stream: str
    replayed: bool = False


class Command(Protocol):
    """A request to change the ledger."""

    @property
    def context(self) -> Context:
        """Who asks, in which conversation."""

    @property
    def idempotency_key(self) -> str | None:
        """The key of a keyed request."""

    @property
    def causation_id(self) -> str:
        """What directly caused the events: the operation of a keyed request, else the conversation."""

    def streams(self) -> Sequence[str]:
        """Return the ids of all streams that `decide` reads."""

    def decide(self, read: Read, now: Instant) -> Decision:
        """Return the decision, or raise the `LedgerError` that refuses the command and leaves nothing behind."""


class Outcome(NamedTuple):
    """What became of a command.

    `state` is the aggregate as the command left it (of a replay: as the first answer showed it), `recorded` tells
    whether events were recorded now, `position` is that of the last event recorded, of a replay that of the first
    answer, and of a command that had nothing to record the head of the journal.
    """

    state: State
    recorded: bool
    replayed: bool
    position: int
