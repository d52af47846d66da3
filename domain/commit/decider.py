"""Decides commands in memory, in order, on cached aggregates. The result is the rows to append.

The cache holds aggregates as they are at one position of the journal, including staged events that are not committed
yet. No I/O. The owner loads its state and tells it whether each batch was committed.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from time import monotonic
from typing import Any, NamedTuple

from msgspec import Struct

from domain.journal.abbreviations import ENVELOPE
from domain.journal.encoding import decode_data, encode_abbreviated, encode_abbreviated_envelope
from domain.journal.reader import MissedEvent, Row, UnreadableAggregate, fold_rows
from domain.journal.short_forms import sums_posted
from domain.journal.weights import weight_of
from domain.journal.writer import Rows
from domain.model.accounts import Account, EntriesPosted, posted
from domain.model.commands import Command, Outcome, Read, envelope_of
from domain.model.errors import BatchRejected, JournalUnavailable, LedgerError
from domain.model.events import Envelope, Event, Recorded, State
from domain.model.ledgers import Ledger
from domain.model.moves import Fence
from domain.model.registry import evolve
from domain.model.times import EARLIEST, Instant

MAX_CACHED_AGGREGATES = 200_000
MAX_CACHED_BYTES = 96 * 1024**2
"""The bound on the parts of cached aggregates that callers can make large. The rest is about 900 bytes each."""

UNTOLD = Envelope(EARLIEST, "", "", "", None, None)
"""In place of the envelope of an event that another writer appended: no movement is decided by who asked for it."""

Result = Outcome | Exception
Reply = Callable[[Sequence[Result]], None]


class Submission(NamedTuple):
    """Commands that were submitted together, to be decided in order; see `GroupCommit.submit`.

    `asked_at_seconds` is the time of submission by the monotonic clock. `weight` is about how many bytes of memory the
    commands take while they wait; it is 0 where another submission counts them.
    """

    commands: Sequence[Command]
    reply: Reply
    all_or_none: bool = False
    dry_run: bool = False
    asked_at_seconds: float = 0.0
    weight: int = 0


class DecidedBatch(Struct, frozen=True):
    """Commands decided together: the states they began from, the rows they append, their results.

    `replaced` holds, for each row, the state that its event changed, so that the newest rows can be undone. `clock` is
    what the clock said at `decided_at_seconds`. `recorded_at` may be later, because recorded time never runs back.
    """

    before: dict[str, State]
    rows: Rows
    replaced: list[State]
    results: list[Result]
    recorded_at: Instant
    decided_at_seconds: float
    clock: Instant

    @property
    def values(self) -> Mapping[str, Any]:
        """The parameters with which its rows are sent."""
        return self.rows.values(self.recorded_at, self.clock, self.decided_at_seconds)


class Decider:
    """Decides commands on the aggregates that its owner has loaded into it."""

    def __init__(self, clock: Callable[[], Instant]) -> None:
        self._clock = clock
        self.states: dict[str, State] = {}
        """The known aggregates, by stream; None for a stream without events."""
        self._weights: dict[str, tuple[object, int]] = {}
        self.weight = 0
        """About how many bytes the caller-sized parts of the known aggregates take; see `weight_of`."""
        self.position = 0
        """The journal position at which the cached aggregates stand."""
        self.recorded_at = EARLIEST
        """The newest known recorded time. No earlier time is given out."""
        self.fences: Mapping[str, Fence] = {}
        """The ledgers for which nothing is recorded here, as of this position: they move, or have moved."""

    def decide(self, submissions: Sequence[Submission], needed: Collection[str]) -> DecidedBatch:
        """Decide submissions in order. `needed` are all streams that their commands name; all must be known.

        An exception of a command that is no refusal is raised, after forgetting every stream of the batch.
        """
        clock, decided_at_seconds = self._clock(), monotonic()
        self.recorded_at = max(clock, self.recorded_at)
        before = dict(zip(needed, map(self.states.__getitem__, needed), strict=True))
        is_readable = UnreadableAggregate not in map(type, before.values())
        read = self.states.__getitem__ if is_readable else self._read_readable
        rows = Rows(self.position, [], [], [], [], [])
        batch = DecidedBatch(before, rows, [], [], self.recorded_at, decided_at_seconds, clock)
        try:
            for submission in submissions:
                batch.results.extend(self._results(submission, batch, read))
        except BaseException:
            self.undo(batch)
            raise
        return batch

    def _results(self, submission: Submission, batch: DecidedBatch, read: Read) -> Sequence[Result]:
        """Return a result for each command, and stage the events of those that are to be recorded."""
        if submission.all_or_none or submission.dry_run:
            return self._undoable_results(submission, batch, read)
        return [self._result(command, batch, read) for command in submission.commands]

    def _undoable_results(self, submission: Submission, batch: DecidedBatch, read: Read) -> Sequence[Result]:
        if fenced := self.fences and self._fenced(submission.commands[0]):
            return [fenced] * len(submission.commands)
        position = self.position
        results: list[Result] = []
        for command in submission.commands:
            results.append(self._result(command, batch, read))
            if submission.all_or_none and is_refused(results[-1]):
                break
        is_rejected = submission.all_or_none and is_refused(results[-1])
        if is_rejected or submission.dry_run:
            self._unstage(batch, position)
            results = [_unrecorded(result, position) for result in results]
        if not is_rejected:
            return results
        rejected = BatchRejected(len(results) - 1, results[-1])
        rejected.position = position
        return [rejected] * len(submission.commands)

    def _result(self, command: Command, batch: DecidedBatch, read: Read) -> Result:
        if self.fences and (refusal := self._fenced(command)):
            return refusal
        try:
            decision = command.decide(read, batch.recorded_at)
        except LedgerError as refusal:
            refusal.position = self.position
            return refusal
        if (first_answer := decision.first_answer) is not None:
            return Outcome(first_answer, False, True, first_answer.position)
        if decision.events:
            self._stage(command, decision.events, batch)
        return Outcome(self.states[decision.stream], bool(decision.events), False, self.position)

    def _fenced(self, command: Command) -> LedgerError | None:
        """Return the refusal of a command whose ledger is not written here, None if it is."""
        fence = self.fences.get(command.ledger)
        if fence is None:
            return None
        refusal = fence.refusal()
        refusal.position = self.position
        return refusal

    def _read_readable(self, stream: str) -> State:
        state = self.states[stream]
        if isinstance(state, UnreadableAggregate):
            raise JournalUnavailable(state.reason)
        return state

    def _stage(self, command: Command, events: Iterable[tuple[str, Event]], batch: DecidedBatch) -> None:
        """Apply the events to the cached aggregates and add them to the batch's rows."""
        envelope = envelope_of(command, batch.recorded_at)
        encoded = encode_abbreviated_envelope(envelope)
        _, streams, versions, topics, states, shares = batch.rows
        known, replaced, position = self.states, batch.replaced, self.position
        for number, (stream, event) in enumerate(events):
            position += 1
            state = known[stream]
            replaced.append(state)
            version = 1 if state is None else state.version + 1
            known[stream] = evolve(state, Recorded(stream, version, position, envelope, event))
            streams.append(stream)
            versions.append(version)
            topics.append(event.TOPIC)
            states.append(encode_abbreviated(event, ENVELOPE if number else encoded))
            shares.append(number)
        self.position = position

    def _unstage(self, batch: DecidedBatch, position: int) -> None:
        """Undo the rows of a batch after a position, and what their events changed in the cached aggregates."""
        staged = position - batch.rows.after
        undone = zip(batch.rows.streams[staged:], batch.replaced[staged:], strict=True)
        self.states.update(reversed(list(undone)))
        for column in (*batch.rows[1:], batch.replaced):
            del column[staged:]
        self.position = position

    def missing(self, streams: set[str]) -> set[str]:
        """Return the streams that are not known."""
        # Not `streams - cache.keys()`: that walks the whole cache, 10 ms for each batch when it is full.
        return streams.difference(self.states)

    def following_streams(self, commands: Sequence[Command]) -> set[str]:
        """Return the streams that commands need in addition to those they name, once the named ones are known."""
        following: set[str] = set()
        for command in commands:
            if (streams := command.following_streams) is not None:
                following.update(streams(self.states.get))
        return following

    def learn(self, streams: Iterable[str], rows: Iterable[Row]) -> None:
        """Add streams to the cache, given all their rows, or the newest snapshot and the rows after it."""
        self.states.update(dict.fromkeys(streams) | fold_rows(rows))

    def assume_new(self, streams: Iterable[str]) -> None:
        """Take streams to have no events, unless they are known."""
        for stream in streams:
            self.states.setdefault(stream, None)

    def remember(self, states: Iterable[tuple[str, State]]) -> None:
        """Add aggregates that no command has asked for yet, as they are at this decider's position."""
        for stream, state in states:
            if isinstance(state, Account | Ledger):
                self.states[stream] = state
                self._weigh(stream, state)
        if self.weight > MAX_CACHED_BYTES:
            self._lighten({})

    def apply(self, missed: Iterable[MissedEvent], position: int) -> None:
        """Apply to the cache what others have appended up to a position.

        Movements are applied. A stream with another event, or with one that cannot be applied, is forgotten: loading it
        again, when needed, shows what is there.
        """
        states = self.states
        for event in missed:
            if (stream := event[0]) in states:
                try:
                    states[stream] = _after(states[stream], event)
                except Exception:  # noqa: BLE001
                    self.forget([stream])
        self.position = position

    def forget_all(self, position: int) -> None:
        """Forget every aggregate, and continue from a position."""
        self.states.clear()
        self._weights.clear()
        self.weight = 0
        self.position = position

    def forget(self, streams: Iterable[str]) -> None:
        """Forget aggregates. They are unknown until they are learned again."""
        for stream in streams:
            self.states.pop(stream, None)
            if stream in self._weights:
                self.weight -= self._weights.pop(stream)[1]

    def undo(self, batch: DecidedBatch) -> None:
        """Undo a batch: forget the streams it touched, so that they are loaded again when needed."""
        self.forget(batch.before)
        self.position = batch.rows.after

    def settled(
        self, batch: DecidedBatch, since: Mapping[str, State]
    ) -> Iterator[tuple[str, State, Account]]:
        """Note that a batch is committed, and yield stream, state before and state after of each of its accounts.

        Streams that the next batches may need stay known. `since` are the states from which a batch decided later
        began. For these streams the cache holds states that are not committed yet.
        """
        for stream, before in batch.before.items():
            after = since[stream] if stream in since else self.states.get(stream)
            if isinstance(after, Account):
                if after.metadata or after.opening.metadata:
                    self._weigh(stream, after)
                yield stream, before, after
            elif isinstance(after, Ledger):
                self._weigh(stream, after)
            elif stream not in since:
                # A transaction's outcome is final, so it is not needed; absent and unreadable streams are reloaded.
                self.states.pop(stream, None)
        excess = len(self.states) - MAX_CACHED_AGGREGATES
        if excess > 0:
            self.forget([stream for stream in islice(self.states, 2 * excess) if stream not in since])
        if self.weight > MAX_CACHED_BYTES:
            self._lighten(since)

    def _weigh(self, stream: str, state: Account | Ledger) -> None:
        """Note how much memory a state takes, unless that has not changed since it was weighed."""
        content = state.metadata if isinstance(state, Account) else state.assets
        known, known_weight = self._weights.get(stream, (None, 0))
        if known is not content:
            weight = weight_of(state)
            self.weight += weight - known_weight
            self._weights[stream] = content, weight

    def _lighten(self, since: Mapping[str, State]) -> None:
        """Forget the aggregates that were weighed first, until there is room for some time."""
        excess = self.weight - MAX_CACHED_BYTES * 7 // 8
        heavy: list[str] = []
        for stream, (_, weight) in self._weights.items():
            if excess <= 0:
                break
            if stream not in since:
                heavy.append(stream)
                excess -= weight
        self.forget(heavy)


def is_refused(result: Result) -> bool:
    """Tell whether a command was refused, by an exception or by a rule, now or when it was first sent."""
    return isinstance(result, Exception) or result.is_refused


def _after(state: State, missed: MissedEvent) -> State:
    """Return the state after an event that another writer appended; raise an exception if that is not possible."""
    stream, version, topic, stored, position = missed
    if stored is None or version != state.version + 1:
        raise LookupError
    if topic == EntriesPosted.TOPIC and (sums := sums_posted(stored)):
        return posted(state, version, position, *sums)
    happened = decode_data(topic, stored)
    return evolve(state, Recorded(stream, version, position, UNTOLD, happened))


def word_of(result: Result) -> str:
    """Return what became of a command: one word, or the code of its refusal."""
    if isinstance(result, Exception):
        return result.code if isinstance(result, LedgerError) else "error"
    if result.replayed:
        return "replayed"
    if result.is_refused:
        return "rejected"
    return "recorded" if result.recorded else "unchanged"


def _unrecorded(result: Result, head: int) -> Result:
    """Return the result of a command whose events were undone. No position in it is above the head."""
    if isinstance(result, Outcome):
        return result._replace(recorded=False, position=min(result.position, head))
    if isinstance(result, LedgerError) and result.position is not None:
        result.position = min(result.position, head)
    return result


def commands_of(submissions: Sequence[Submission]) -> list[Command]:
    """Return all commands of submissions, in order."""
    return [command for submission in submissions for command in submission.commands]


def streams_of(commands: Sequence[Command]) -> set[str]:
    """Return the streams that commands name in addition to their own."""
    return {stream for command in commands for stream in command.streams()}


def own_streams_of(commands: Sequence[Command]) -> set[str]:
    """Return the streams that keyed commands begin with their outcome."""
    return {stream for command in commands if (stream := command.own_stream) is not None}
