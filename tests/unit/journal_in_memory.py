"""A journal in memory: the decisions of the group commit without a database, a clock or a thread."""

from collections.abc import Iterable, Sequence

from domain.commit.decider import Decider, Result, Submission
from domain.journal.encoding import decode, encode_envelope, encode_event
from domain.journal.reader import whole_rows
from domain.model.commands import Command, Outcome
from domain.model.events import Envelope, Event, Recorded, State
from domain.model.registry import evolve
from domain.model.times import EARLIEST, Instant


class ColdDecider(Decider):
    """Decides like the group commit, knowing only the states that commands name, as if newly started each time."""

    def __init__(self) -> None:
        self.now = EARLIEST
        super().__init__(lambda: self.now)

    def decide_alone(
        self, submission: Submission, states: dict[str, State], head: int
    ) -> tuple[list[Result], list[Recorded], dict[str, State]]:
        """Return the results, the events to record as they would be read back, and the resulting states."""
        named = {stream for command in submission.commands for stream in command.streams()}
        named |= {command.own_stream for command in submission.commands if command.own_stream}
        self.states = {stream: states.get(stream) for stream in named}
        named |= self.following_streams(submission.commands)
        self.states = {stream: states.get(stream) for stream in named}
        self.position, self.recorded_at = head, EARLIEST
        batch = self.decide([submission], named)
        after, *columns = batch.rows
        stored = [
            (stream, version, topic, state, after + number, shares, batch.rows.states[number - shares - 1])
            for number, (stream, version, topic, state, shares) in enumerate(zip(*columns, strict=True), 1)
        ]
        events = [decode(*row) for row in whole_rows(stored)]
        assert self.position == head + len(events)
        return batch.results, events, self.states


class JournalInMemory:
    """The state of every stream, and every event in order."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.recorded: list[Recorded] = []
        self._deciding = ColdDecider()

    @property
    def head(self) -> int:
        """The newest position."""
        return len(self.recorded)

    def append(self, events: Iterable[tuple[str, Event]], envelope: Envelope) -> None:
        """Record events at the next positions and fold them. Asserts that each is read back as recorded."""
        encoded = encode_envelope(envelope)
        for stream, event in events:
            known = self.states.get(stream)
            version = known.version + 1 if known else 1
            recorded = Recorded(stream, version, self.head + 1, envelope, event)
            stored = encode_event(event, encoded)
            assert decode(stream, version, event.TOPIC, stored, self.head + 1) == recorded
            self._append(recorded)

    def _append(self, recorded: Recorded) -> None:
        self.states[recorded.stream] = evolve(self.states.get(recorded.stream), recorded)
        self.recorded.append(recorded)

    def execute(
        self, commands: Sequence[Command], now: Instant, *, all_or_none: bool = False, dry_run: bool = False
    ) -> list[Result]:
        """Decide commands submitted together, record their events, and return the result of each."""
        self._deciding.now = now
        submission = Submission(commands, lambda results: None, all_or_none, dry_run)
        results, events, cached = self._deciding.decide_alone(submission, self.states, self.head)
        for recorded in events:
            self._append(recorded)
        # Undone commands left no trace in the cache, and the events read back lead to the same states.
        assert cached == {stream: self.states.get(stream) for stream in cached}
        return results

    def perform(self, command: Command, now: Instant) -> Outcome:
        """Decide a command and record its events, or raise its refusal."""
        (result,) = self.execute([command], now)
        if isinstance(result, Exception):
            raise result
        return result
