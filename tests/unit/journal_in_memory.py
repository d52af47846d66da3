"""A journal in memory: it decides and folds as the real one does, without a database, a clock or a thread."""

from collections.abc import Iterable

from domain.aggregates import evolve
from domain.commands import Command, Outcome
from domain.events import Envelope, Event, Recorded, State
from domain.times import Instant


class JournalInMemory:
    """The state of every stream, and every event in order."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.recorded: list[Recorded] = []

    @property
    def head(self) -> int:
        """The newest position."""
        return len(self.recorded)

    def append(self, events: Iterable[tuple[str, Event]], envelope: Envelope) -> None:
        """Record events at the next positions and fold them."""
        for stream, event in events:
            known = self.states.get(stream)
            version = known.version + 1 if known else 1
            recorded = Recorded(stream, version, self.head + 1, envelope, event)
            self.states[stream] = evolve(known, recorded)
            self.recorded.append(recorded)

    def perform(self, command: Command, now: Instant) -> Outcome:
        """Decide a command and record what follows, or raise its refusal."""
        named = set(command.streams())

        def read(stream: str) -> State:
            # The real journal loads only what a command names: reading anything else would fail there.
            assert stream in named, f"{stream} is read but not named"
            return self.states.get(stream)

        decision = command.decide(read, now)
        self.append(decision.events, envelope_of(command, now))
        state = self.states[decision.stream]
        position = state.position if decision.replayed else self.head
        return Outcome(state, bool(decision.events), decision.replayed, position)


def envelope_of(command: Command, now: Instant) -> Envelope:
    """Return the circumstances that a command's events are recorded with."""
    actor, correlation_id, traceparent = command.context
    return Envelope(
        recorded_at=now,
        actor=actor,
        correlation_id=correlation_id,
        causation_id=command.causation_id,
        idempotency_key=command.idempotency_key,
        traceparent=traceparent,
    )
