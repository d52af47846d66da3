"""Commands: requests to change the ledger, decided in memory against folded aggregates.

A command names the streams it reads, then decides. Deciding is pure: no I/O, no clock, no randomness. It returns the
events to record, or raises a refusal that leaves nothing behind (domain/model/errors.py).
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol

from domain.model.events import Context, Envelope, Event, State
from domain.model.idempotency import Operation
from domain.model.times import Instant

Read = Callable[[str], State]
"""Returns the state of a stream that the command named, or `None` if the stream has no events."""


class Decision(NamedTuple):
    """The result of deciding a command.

    `events` are (stream, event) in the order in which they are recorded; the command's own event comes last. `stream`
    is the stream whose state is the answer. `first_answer` is set if a keyed request was decided before: it is the
    state that the first answer showed, and it is the answer again. Nothing is recorded then.
    """

    events: Sequence[tuple[str, Event]]
    stream: str
    first_answer: State = None


class Command(Protocol):
    """A request to change the ledger."""

    @property
    def context(self) -> Context:
        """The caller, and the correlation of the request."""

    @property
    def ledger(self) -> str:
        """The ledger that it concerns."""

    @property
    def operation(self) -> Operation | None:
        """The keyed request, or None if the command can be repeated harmlessly without a key."""

    @property
    def own_stream(self) -> str | None:
        """The stream that a keyed request begins with its outcome, or None if there is no key."""

    def streams(self) -> Sequence[str]:
        """Return the ids of the streams that `decide` reads in addition to its own."""

    @property
    def following_streams(self) -> Callable[[Read], Sequence[str]] | None:
        """Returns the ids of streams that are known only once `streams` are loaded. None if there are none."""

    def decide(self, read: Read, now: Instant) -> Decision:
        """Return the decision, or raise the `LedgerError` that refuses the command and leaves nothing behind."""


def envelope_of(command: Command, now: Instant) -> Envelope:
    """Return the envelope with which a command's events are recorded."""
    actor, correlation_id, traceparent = command.context
    operation = command.operation
    return Envelope(
        recorded_at=now,
        actor=actor,
        correlation_id=correlation_id,
        # The direct cause of the events: the operation of a keyed request, else the correlation.
        causation_id=operation.id if operation else correlation_id,
        idempotency_key=operation.key if operation else None,
        traceparent=traceparent,
    )


class Repeatable:
    """A command without a key. Repeating it is harmless."""

    __slots__ = ()

    operation: ClassVar[None] = None
    own_stream: ClassVar[None] = None
    following_streams: ClassVar[None] = None


class Outcome(NamedTuple):
    """The result of a command.

    `state` is the aggregate as the command left it, or, for a replay, as the first answer showed it. `recorded` tells
    whether events were recorded now. `position` is the position of the last event recorded; for a replay, the position
    of the first answer; for a command that had nothing to record, the head of the journal.
    """

    state: State
    recorded: bool
    replayed: bool
    position: int

    @property
    def is_refused(self) -> bool:
        """Whether a rule refused the request, now or when it was first sent."""
        return getattr(self.state, "rejection", None) is not None
