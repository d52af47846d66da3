"""The write path: lock, catch up, decide, append, commit; one database transaction for all that wait.

Commands that arrive while a commit is under way are decided together in the next one, by the one writer thread of the
process. As the decision is made under the head's lock there are no conflicts to retry, and a hot account costs the same
as a thousand cold ones. Any number of processes may do so at once: the lock serialises their batches, and a writer that
finds the head moved first reads what the others appended (DESIGN.md, The write path).

When much waits, the next batch is decided while the database still commits the last one, on the states that the last
one leaves. That is a guess, and it is checked: the head, once locked, must be where the guess began, and keys that were
taken to be new must be. If they are not, or if the last batch failed, what was decided ahead is forgotten and decided
again under the lock.
"""

import gc
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from time import monotonic, sleep
from typing import NamedTuple

import psycopg
import structlog

from domain.accounts import Account
from domain.aggregates import evolve
from domain.commands import Command, Outcome, envelope_of
from domain.errors import BatchRejected, JournalUnavailable, LedgerError, Overloaded
from domain.events import Event, Recorded, State
from domain.journal.database import Database
from domain.journal.encoding import decode, encode_envelope, encode_event
from domain.journal.reader import Unreadable, fold_rows
from domain.journal.snapshots import Snapshotter
from domain.journal.writer import JournalWriter, Rows
from domain.ledgers import Ledger
from domain.times import EARLIEST, Instant

MAX_BATCH_COMMANDS = 1_000
MAX_WAITING_COMMANDS = 20_000
MAX_CACHED_AGGREGATES = 200_000
MAX_CATCH_UP_EVENTS = 5_000
PATIENCE_SECONDS = 15.0
RECONNECT_SECONDS = 0.1
# Below this, waiting for the commit gathers a larger batch, and that saves more than deciding ahead does.
MIN_COMMANDS_AHEAD = 200
BATCHES_NOT_AHEAD_AFTER_A_MISS = 50

_log = structlog.get_logger(__name__)

Result = Outcome | Exception
Reply = Callable[[Sequence[Result]], None]


class Submission(NamedTuple):
    """Commands that were submitted together, to be decided in order; see `GroupCommit.submit`."""

    commands: Sequence[Command]
    reply: Reply
    all_or_none: bool = False
    dry_run: bool = False


class HeadMoved(Exception):
    """Another writer has appended since the batch was decided ahead."""


class Batch(NamedTuple):
    """Commands decided together: the states that they began from, what they append, what they will be answered."""

    before: dict[str, State]
    rows: Rows
    results: list[Result]
    recorded_at: Instant
    decided_at_seconds: float


class UnderWay(NamedTuple):
    """A batch that the other thread commits now."""

    submissions: list[Submission]
    batch: Batch
    committed: "Future[None]"


class GroupCommit:
    """Decides and commits commands in batches, in a thread of its own."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], Instant],
        observe: Callable[[int, int, float], None] = lambda commands, events, seconds: None,
    ) -> None:
        """`observe` is told of each batch: commands, events, seconds from its decision to its commit."""
        self._clock = clock
        self._observe = observe
        self._snapshotter = Snapshotter(database)
        self._writer = JournalWriter(database, "tallystick writer")
        self._reader_ahead = JournalWriter(database, "tallystick reader ahead")
        self._committer = ThreadPoolExecutor(1, "commit")
        self._cache: dict[str, State] = {}
        self._cache_position = 0
        self._changed_states: dict[str, State] | None = None
        self._recorded_at = EARLIEST
        self._not_ahead = 0
        self._waiting: deque[Submission] = deque()
        self._waiting_commands = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="group commit", daemon=True)
        self.position = 0
        """The newest position of the journal that this writer knows to be committed."""

    @property
    def waiting_commands(self) -> int:
        """How many commands wait for the next batch."""
        return self._waiting_commands

    def start(self) -> None:
        """Begin to commit, and set two things of the whole process for it.

        The collector of cycles runs seldom: the aggregates in the cache are many and without cycles, and going through
        them with the default thresholds costs a third of the throughput. And who waits for the interpreter's lock gets
        it after half a millisecond: the default of five would hold each step of a commit back for as long, while the
        next batch is decided (measured: 7% of the throughput).
        """
        gc.set_threshold(100_000, 50, 1000)
        sys.setswitchinterval(0.0005)
        self._snapshotter.start()
        self._thread.start()

    def stop(self) -> None:
        """Refuse new commands, commit those that wait, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
            self._snapshotter.stop()
        self._committer.shutdown()
        self._writer.disconnect()
        self._reader_ahead.disconnect()

    def submit(
        self, commands: Sequence[Command], reply: Reply, *, all_or_none: bool = False, dry_run: bool = False
    ) -> None:
        """Queue commands to be decided in order in one transaction.

        `reply` is called once, in the writer's thread and only after the commit, with an `Outcome` for each command
        or the exception that refused it. With `all_or_none`, the first command that is refused, by an exception or by
        a rule, undoes all of them, and each gets the same `BatchRejected`. A `dry_run` is decided as if it were to be
        recorded, then undone. Raises `Overloaded` when too much waits, and `JournalUnavailable` once stopping.
        """
        with self._changed:
            if self._stopping:
                raise JournalUnavailable("stopping")
            if self._waiting_commands and self._waiting_commands + len(commands) > MAX_WAITING_COMMANDS:
                raise Overloaded
            self._waiting.append(Submission(commands, reply, all_or_none, dry_run))
            self._waiting_commands += len(commands)
            self._changed.notify()

    def _run(self) -> None:
        under_way: UnderWay | None = None
        while (submissions := self._collect(under_way)) or under_way:
            ahead = self._decide_ahead(submissions) if self._is_worth_deciding_ahead(submissions) else None
            if under_way and not self._finish(under_way, ahead):
                ahead = None
            under_way = None
            if ahead:
                committed = self._committer.submit(self._commit_ahead, ahead)
                committed.add_done_callback(self._wake)
                under_way = UnderWay(submissions, ahead, committed)
            elif submissions:
                _reply(submissions, self._commit(submissions))

    def _collect(self, under_way: UnderWay | None) -> list[Submission]:
        """Return what waits. With a batch under way: many commands, or nothing once it is committed."""
        submissions: list[Submission] = []
        commands = 0
        with self._changed:
            while not self._enough_waits(under_way):
                self._changed.wait()
            if under_way and self._waiting_commands < MIN_COMMANDS_AHEAD:
                return submissions
            while self._waiting and commands < MAX_BATCH_COMMANDS:
                submissions.append(self._waiting.popleft())
                commands += len(submissions[-1].commands)
            self._waiting_commands -= commands
        return submissions

    def _enough_waits(self, under_way: UnderWay | None) -> bool:
        if under_way:
            return self._waiting_commands >= MIN_COMMANDS_AHEAD or under_way.committed.done()
        return self._waiting_commands > 0 or self._stopping

    def _wake(self, _: "Future[None]") -> None:
        with self._changed:
            self._changed.notify()

    # Under the lock: how every batch can be committed, and how those decided ahead are when the guess fails.

    def _commit(
        self,
        submissions: Sequence[Submission],
        in_doubt: Batch | None = None,
        give_up_at: float | None = None,
    ) -> Sequence[Result]:
        """Return a result for each command, whatever happens.

        `in_doubt` is these submissions decided before, if their commit was asked for and never acknowledged.
        """
        give_up_at = give_up_at or monotonic() + PATIENCE_SECONDS
        while True:
            try:
                batch = self._decide_under_lock(submissions, in_doubt)
                if batch is None:
                    assert in_doubt is not None
                    return in_doubt.results
                in_doubt = batch
                self._commit_decided(batch)
                return batch.results
            except Exception as error:  # noqa: BLE001  whatever it is, each command must be answered
                self._writer.disconnect()
                commands = _commands(submissions)
                if not _is_out_of_reach(error):
                    return self._one_by_one(submissions, error, give_up_at)
                _log.warning("journal out of reach", error=type(error).__name__, commands=len(commands))
                if monotonic() > give_up_at:
                    return [JournalUnavailable("unreachable") for _ in commands]
                sleep(RECONNECT_SECONDS)

    def _one_by_one(
        self, submissions: Sequence[Submission], error: Exception, give_up_at: float
    ) -> Sequence[Result]:
        """Return results when the database, or a fault of ours, refused something: it must affect only its own."""
        alone = [part for submission in submissions for part in _apart(submission)]
        if len(alone) == 1:
            commands = alone[0].commands
            _log.error("command failed", command=type(commands[0]).__name__, exc_info=error)
            return [error] * len(commands)
        return list(chain(*(self._commit([part], None, give_up_at) for part in alone)))

    def _decide_under_lock(self, submissions: Sequence[Submission], in_doubt: Batch | None) -> Batch | None:
        """Take the head's lock, make the cache exact, decide; None if the batch in doubt is found committed."""
        commands = _commands(submissions)
        needed = _streams(commands) | _own_streams(commands)
        cold = self._missing(needed)
        head, rows = self._writer.lock(cold)
        if in_doubt and in_doubt.rows.streams and self._writer.holds(in_doubt.rows):
            _log.info("commit in doubt had taken place", position=in_doubt.rows.last)
            self._writer.release()
            return None
        self._catch_up(head.position)
        self._warm(cold, rows)
        self._load(needed, self._writer)
        needed |= self._following_streams(commands)
        self._load(needed, self._writer)
        self.position = head.position
        self._recorded_at = head.recorded_at
        return self._decide(submissions, needed)

    def _commit_decided(self, batch: Batch) -> None:
        try:
            self._append(batch)
        except BaseException:
            self._undo(batch)
            raise
        self._committed(batch, {})

    def _append(self, batch: Batch) -> None:
        if batch.rows.streams:
            self._writer.append(batch.rows, batch.recorded_at)
        else:
            self._writer.release()

    def _catch_up(self, head: int) -> None:
        """Apply to the cached aggregates what others appended since this writer last held the lock."""
        if head - self._cache_position > MAX_CATCH_UP_EVENTS:
            self._cache.clear()
        elif head != self._cache_position:
            for stream, version, topic, state, position in self._writer.between(self._cache_position, head):
                if stream in self._cache:
                    try:
                        recorded = decode(stream, version, topic, state, position)
                        self._cache[stream] = evolve(self._cache[stream], recorded)
                    except Exception:  # noqa: BLE001  loading it anew, if need be, will tell what is wrong
                        del self._cache[stream]
        self._cache_position = head

    # Ahead of the lock.

    def _is_worth_deciding_ahead(self, submissions: Sequence[Submission]) -> bool:
        self._not_ahead = max(0, self._not_ahead - 1)
        return (
            sum(len(submission.commands) for submission in submissions) >= MIN_COMMANDS_AHEAD
            and self.position > 0
            and not self._not_ahead
            and not any(submission.dry_run for submission in submissions)
        )

    def _decide_ahead(self, submissions: Sequence[Submission]) -> Batch | None:
        """Decide on the states that the batch under way leaves; None if that cannot be done now.

        What keyed requests begin is taken to be new without looking: if it is not, its append will fail on the
        journal's own uniqueness. What records nothing would go unchecked so, and is decided under the lock instead.
        """
        commands = _commands(submissions)
        needed, own = _streams(commands), _own_streams(commands)
        try:
            self._load(needed, self._reader_ahead)
            needed |= self._following_streams(commands)
            self._load(needed, self._reader_ahead)
            self._warm(self._missing(own), ())
            batch = self._decide(submissions, needed | own)
        except Exception as error:  # noqa: BLE001
            # Under the lock, where it is tried again, the error will be judged. What was loaded may hold what others
            # appended after `_cache_position`: catching up would apply that a second time.
            _log.info("could not decide ahead", error=type(error).__name__)
            self._forget(needed | own)
            self._reader_ahead.disconnect()
            return None
        if any(isinstance(result, Exception) for result in batch.results):
            self._undo(batch)
            return None
        return batch

    def _commit_ahead(self, batch: Batch) -> None:
        """Commit in the other thread what was decided ahead; raise `HeadMoved` if the guess was wrong."""
        head, _ = self._writer.lock(())
        if head.position != batch.rows.after:
            self._writer.release()
            raise HeadMoved
        self._append(batch)

    def _finish(self, under_way: UnderWay, ahead: Batch | None) -> bool:
        """Wait for the batch under way and answer it; False if what was decided after it must be forgotten."""
        submissions, batch, committed = under_way
        try:
            committed.result()
        except Exception as error:  # noqa: BLE001  under the lock, where it is tried again, it will be judged
            _log.info("deciding ahead missed", error=type(error).__name__)
            self._not_ahead = BATCHES_NOT_AHEAD_AFTER_A_MISS
            if ahead:
                self._undo(ahead)
            self._undo(batch)
            in_doubt = None if isinstance(error, HeadMoved) else batch
            if in_doubt:
                self._writer.disconnect()
            _reply(submissions, self._commit(submissions, in_doubt))
            return False
        self._committed(batch, ahead.before if ahead else {})
        _reply(submissions, batch.results)
        return True

    # Deciding, in memory.

    def _decide(self, submissions: Sequence[Submission], needed: Collection[str]) -> Batch:
        self._recorded_at = max(self._clock(), self._recorded_at)
        before = {stream: self._cache[stream] for stream in needed}
        rows = Rows(self._cache_position, [], [], [], [])
        batch = Batch(before, rows, [], self._recorded_at, monotonic())
        try:
            for submission in submissions:
                batch.results.extend(self._results(submission, batch))
        except BaseException:
            self._undo(batch)
            raise
        return batch

    def _results(self, submission: Submission, batch: Batch) -> Sequence[Result]:
        """Return a result for each command, having staged the events of those that are to be recorded."""
        if not (submission.all_or_none or submission.dry_run):
            return [self._result(command, batch) for command in submission.commands]
        self._changed_states = {}
        try:
            return self._undoable_results(submission, batch)
        finally:
            self._changed_states = None

    def _undoable_results(self, submission: Submission, batch: Batch) -> Sequence[Result]:
        position = self._cache_position
        results: list[Result] = []
        for command in submission.commands:
            results.append(self._result(command, batch))
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

    def _result(self, command: Command, batch: Batch) -> Result:
        try:
            decision = command.decide(self._read, batch.recorded_at)
        except LedgerError as refusal:
            refusal.position = self._cache_position
            return refusal
        if (first_answer := decision.first_answer) is not None:
            return Outcome(first_answer, False, True, first_answer.position)
        if decision.events:
            self._stage(command, decision.events, batch)
        return Outcome(self._cache[decision.stream], bool(decision.events), False, self._cache_position)

    def _read(self, stream: str) -> State:
        state = self._cache[stream]
        if isinstance(state, Unreadable):
            raise JournalUnavailable(state.reason)
        return state

    def _stage(self, command: Command, events: Iterable[tuple[str, Event]], batch: Batch) -> None:
        """Apply the events to the cached aggregates and add them to the rows to append."""
        envelope = envelope_of(command, batch.recorded_at)
        encoded = encode_envelope(envelope)
        _, streams, versions, topics, states = batch.rows
        position = self._cache_position
        for stream, event in events:
            position += 1
            state = self._cache[stream]
            if self._changed_states is not None:
                self._changed_states.setdefault(stream, state)
            version = 1 if state is None else state.version + 1
            self._cache[stream] = evolve(state, Recorded(stream, version, position, envelope, event))
            streams.append(stream)
            versions.append(version)
            topics.append(event.TOPIC)
            states.append(encode_event(event, encoded))
        self._cache_position = position

    def _unstage(self, batch: Batch, position: int) -> None:
        """Take back what a submission has staged: its rows, and what they did to the cached aggregates."""
        staged = position - batch.rows.after
        for column in batch.rows[1:]:
            del column[staged:]
        self._cache.update(self._changed_states or {})
        self._cache_position = position

    # The cache: aggregates as they are at `_cache_position`, those of batches decided but not yet committed included.

    def _missing(self, streams: Iterable[str]) -> list[str]:
        # Not `streams - cache.keys()`: that goes through the whole cache, 10 ms for each batch when it is full.
        return [stream for stream in streams if stream not in self._cache]

    def _following_streams(self, commands: Sequence[Command]) -> set[str]:
        following: set[str] = set()
        for command in commands:
            if (streams := command.following_streams) is not None:
                following.update(streams(self._cache.get))
        return following

    def _load(self, streams: Iterable[str], connection: JournalWriter) -> None:
        if missing := self._missing(streams):
            self._warm(missing, connection.load(missing))

    def _warm(self, streams: Iterable[str], rows: Iterable[tuple[str, int, str, bytes, int]]) -> None:
        states = fold_rows(rows)
        for stream in streams:
            self._cache[stream] = states.get(stream)

    def _forget(self, streams: Iterable[str]) -> None:
        for stream in streams:
            self._cache.pop(stream, None)

    def _undo(self, batch: Batch) -> None:
        """Take back what deciding a batch did to the cache: what it touched is loaded anew when needed."""
        self._forget(batch.before)
        self._cache_position = batch.rows.after

    def _committed(self, batch: Batch, since: Mapping[str, State]) -> None:
        """Take note of a commit: offer snapshots, and keep in the cache what the next batches may need.

        `since` are the states that a batch decided since began from: of these streams the cache holds what is not
        committed yet.
        """
        self.position = batch.rows.last
        self._observe(len(batch.results), len(batch.rows.streams), monotonic() - batch.decided_at_seconds)
        for stream, before in batch.before.items():
            after = since[stream] if stream in since else self._cache.get(stream)
            if isinstance(after, Account):
                self._snapshotter.consider(stream, before, after)
            elif stream not in since and not isinstance(after, Ledger):
                # A transaction's outcome is final, and what is absent or unreadable is looked up anew each time.
                self._cache.pop(stream, None)
        excess = len(self._cache) - MAX_CACHED_AGGREGATES
        if excess > 0:
            self._forget([stream for stream in islice(self._cache, 2 * excess) if stream not in since])


def _is_out_of_reach(error: Exception) -> bool:
    """Tell whether the same commands may succeed later, on another connection."""
    if isinstance(error, psycopg.errors.PipelineAborted):
        return False  # an OperationalError by its class, but what aborted the pipeline was a refusal
    return isinstance(
        error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.errors.ReadOnlySqlTransaction
    )


def is_refused(result: Result) -> bool:
    """Tell whether a command was refused, by an exception or by a rule, now or when it was first asked."""
    return isinstance(result, Exception) or result.is_refused


def _unrecorded(result: Result, head: int) -> Result:
    """Return the result of a command whose events were taken back: no position in it is above the head."""
    if isinstance(result, Outcome):
        return result._replace(recorded=False, position=min(result.position, head))
    if isinstance(result, LedgerError) and result.position is not None:
        result.position = min(result.position, head)
    return result


def _commands(submissions: Sequence[Submission]) -> list[Command]:
    return [command for submission in submissions for command in submission.commands]


def _streams(commands: Sequence[Command]) -> set[str]:
    return {stream for command in commands for stream in command.streams()}


def _own_streams(commands: Sequence[Command]) -> set[str]:
    return {stream for command in commands if (stream := command.own_stream) is not None}


def _apart(submission: Submission) -> Sequence[Submission]:
    """Return what can be decided apart: each command, unless they belong together."""
    if submission.all_or_none or submission.dry_run:
        return [submission]
    return [submission._replace(commands=[command]) for command in submission.commands]


def _reply(submissions: Sequence[Submission], results: Sequence[Result]) -> None:
    first = 0
    for submission in submissions:
        after = first + len(submission.commands)
        try:
            submission.reply(results[first:after])
        except Exception:  # noqa: BLE001  the asker's fault must not end the writer
            _log.exception("reply failed")
        first = after
