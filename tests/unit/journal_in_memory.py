"""A journal in memory: it decides and folds as the real one does, without a database, a clock or a thread."""

from collections.abc import Iterable

from domain.aggregates import evolve
from domain.commands import Command, Outcome, envelope_of
from domain.events import Envelope, Event, Recorded, State
from domain.journal.encoding import decode, encode_envelope, encode_event
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
        """Record events at the next positions and fold them; each is seen to be read back as it was recorded."""
        encoded = encode_envelope(envelope)
        for stream, event in events:
            known = self.states.get(stream)
            version = known.version + 1 if known else 1
            recorded = Recorded(stream, version, self.head + 1, envelope, event)
            stored = encode_event(event, encoded)
            assert decode(stream, version, event.TOPIC, stored, self.head + 1) == recorded
            self.states[stream] = evolve(known, recorded)
            self.recorded.append(recorded)

    def perform(self, command: Command, now: Instant) -> Outcome:
        """Decide a command and record what follows, or raise its refusal."""
        named = {*command.streams()} | ({command.own_stream} if command.own_stream else set())
        if command.following_streams is not None:
            named |= {*command.following_streams(self.states.get)}

        def read(stream: str) -> State:
            # The real journal loads only what a command names: reading anything else would fail there.
            assert stream in named, f"{stream} is read but not named"
            return self.states.get(stream)

        decision = command.decide(read, now)
        self.append(decision.events, envelope_of(command, now))
        if (first_answer := decision.first_answer) is not None:
            return Outcome(first_answer, False, True, first_answer.position)
        return Outcome(self.states.get(decision.stream), bool(decision.events), False, self.head)
