"""The write path: lock, catch up, decide, append, commit. One database transaction serves all waiting commands.

Commands that arrive during a commit are decided together in the next one, by the one writer thread of the process.
Decisions are made under the lock on the head, so there are no conflicts to retry, and a hot account costs the same as a
thousand cold ones. Any number of processes may write at once: the lock serialises their batches, and a writer that
finds the head moved first reads what the others appended (domain/README.md, Group commit).

If nobody else writes, the lock tells a writer nothing new. So a batch is decided ahead of the lock, on the states that
the last batch left, and lock, append and commit go to the database in one round trip. If much waits, the batch is
decided while the last one is still being committed. Deciding ahead is a guess, and it is checked: once locked, the head
must be where the guess began, and keys that were taken to be new must be new. If they are not, or if the last batch
failed, the batch is forgotten and decided again under the lock.
"""

import gc
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from time import monotonic, sleep
from typing import Any, NamedTuple

import psycopg
import structlog

from domain.commit.decider import (
    DecidedBatch,
    Decider,
    Reply,
    Result,
    Submission,
    commands_of,
    own_streams_of,
    streams_of,
)
from domain.commit.patience import Patience
from domain.commit.queue import SubmissionQueue, is_answered, is_much
from domain.journal.database import Database
from domain.journal.outage import DATABASE, DENIALS, Outage, is_denied, is_lost
from domain.journal.silence import HOLDERS_OF_HEAD, LOST, Watch
from domain.journal.snapshots import Snapshotter
from domain.journal.writer import ClockDiffers, JournalWriter, Timekeeping
from domain.model.commands import Command
from domain.model.errors import JournalUnavailable
from domain.model.events import State
from domain.model.times import Instant

MAX_CATCH_UP_EVENTS = 5_000
MAX_CATCH_UP_BYTES = 16 * 1024**2
"""Events of others that take more are not read: the aggregates that are needed are loaded again instead."""
RECONNECT_SECONDS = 0.1
WARN_OF_CLOCK_EVERY_SECONDS = 60.0
# A wrong guess is likely to repeat: other writers are at work, or requests are repeated, or refused.
BATCHES_NOT_AHEAD_AFTER_A_MISS = 50
BATCHES_NOT_AHEAD_AFTER_A_REFUSAL = 10

_log = structlog.get_logger(__name__)


class MissedGuess(Exception):
    """Another writer has appended since the batch was decided ahead, or a key that was taken to be new is not new."""


class NobodyWaits(Exception):
    """All callers were told that the journal is unavailable, so their requests are left to their next attempt."""


class Ahead(NamedTuple):
    """A batch decided ahead of the lock, with its rows as they will be sent."""

    submissions: Sequence[Submission]
    batch: DecidedBatch
    values: Mapping[str, Any]


class UnderWay(NamedTuple):
    """A batch that the commit thread is committing."""

    ahead: Ahead
    committed: "Future[None]"


class GroupCommit:
    """Decides and commits commands in batches, in its own thread."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], Instant],
        observe: Callable[[int, int, float], None] = lambda commands, events, seconds: None,
        max_clock_difference_seconds: float | None = None,
    ) -> None:
        """`observe` is called for each batch with commands, events, and seconds from decision to commit.

        While the clock differs from the database's by more than `max_clock_difference_seconds`, nothing is recorded.
        None turns this check off.
        """
        self._observe = observe
        self._database = database
        self._snapshotter = Snapshotter(database)
        timekeeping = Timekeeping(clock, max_clock_difference_seconds)
        self._writer = JournalWriter(database, "tallystick writer", timekeeping)
        self._reader_ahead = JournalWriter(database, "tallystick reader ahead")
        self._committer = ThreadPoolExecutor(1, "commit")
        self._decider = Decider(clock)
        self._not_ahead = 0
        self._trouble: str | None = None
        self._warn_of_clock_at = 0.0
        self._watch = Watch(HOLDERS_OF_HEAD, {})
        self._outage = Outage("journal")
        self._patience = Patience(self._reason, self._outage, monotonic)
        self._queue = SubmissionQueue(self._patience)
        self._thread = threading.Thread(target=self._run, name="group commit", daemon=True)
        self.position = 0
        """The newest position of the journal that this writer knows to be committed."""

    @property
    def waiting_commands(self) -> int:
        """How many commands wait for the next batches."""
        return self._queue.waiting_commands

    @property
    def waiting_bytes(self) -> int:
        """About how much memory the commands take that wait for the next batches."""
        return self._queue.waiting_bytes

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no more commands are taken now."""
        return self._queue.is_full

    def start(self) -> None:
        """Start committing, and change two settings of the whole process.

        The garbage collector runs seldom: the cache holds many aggregates without reference cycles, and scanning them
        at the default thresholds costs a third of the throughput. A thread that waits for the interpreter's lock gets
        it after half a millisecond: the default of five would delay each step of a commit by that much while the next
        batch is decided (measured: 7% of the throughput).
        """
        gc.set_threshold(100_000, 50, 1000)
        sys.setswitchinterval(0.0005)
        self._snapshotter.start()
        self._patience.start()
        self._thread.start()

    def stop(self) -> None:
        """Refuse new commands, commit the waiting ones, then end."""
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join()
            self._patience.stop()
            self._snapshotter.stop()
        self._committer.shutdown()
        self._writer.disconnect()
        self._reader_ahead.disconnect()

    def submit(
        self, commands: Sequence[Command], reply: Reply, *, all_or_none: bool = False, dry_run: bool = False
    ) -> None:
        """Queue commands to be decided in order, in one transaction.

        More than `MAX_BATCH_COMMANDS` commands that may fail independently are split into several transactions, and
        other commands may come between them. `reply` is called once, in the writer's thread and only after the commit,
        with an `Outcome` for each command or the exception that refused it. If the journal is in trouble and
        `PATIENCE_SECONDS` are over, `reply` is called in another thread, with `JournalUnavailable` for each command: it
        is then not known whether they were recorded. With `all_or_none`, the first refused command, by an exception or
        by a rule, undoes all of them, and each gets the same `BatchRejected`. A `dry_run` is decided as if it were to
        be recorded, then undone. Without commands, `reply` is called at once, with no results. Raises
        `JournalUnavailable` once stopping, and `Overloaded` if too many commands wait.
        """
        if not commands:  # nothing would wake the writer
            reply(())
            return
        self._queue.put(commands, reply, all_or_none=all_or_none, dry_run=dry_run)

    def _reason(self) -> str | None:
        """Return why nothing is recorded now, or None if all is well."""
        is_overdue = self._writer.is_overdue or self._reader_ahead.is_overdue
        return self._trouble or ("unreachable" if is_overdue else None)

    def _run(self) -> None:
        under_way: UnderWay | None = None
        while (submissions := self._queue.collect(under_way and under_way.committed)) or (
            under_way or not self._queue.is_over()
        ):
            is_large = is_much(submissions)
            ahead = self._decide_ahead(submissions) if is_large else None
            done = under_way.ahead if under_way and self._is_committed(under_way, ahead) else None
            if under_way and not done:
                ahead = None
            # The next commit begins before the last is answered, so that the database is not idle meanwhile.
            under_way = self._begin_commit(ahead) if ahead else None
            if done:
                self._committed(done.batch, ahead.batch.before if ahead else {})
                _reply(done.submissions, done.batch.results)
            if submissions and not ahead:
                _reply(submissions, self._commit(submissions) if is_large else self._commit_few(submissions))

    # Under the lock: this can commit every batch, and commits those decided ahead if the guess fails.

    def _commit(
        self, submissions: Sequence[Submission], in_doubt: DecidedBatch | None = None
    ) -> Sequence[Result]:
        """Return a result for each command, whatever happens.

        `in_doubt` is an earlier decision of the same submissions whose commit was requested and never acknowledged.
        """
        while True:
            try:
                batch = self._decide_under_lock(submissions, in_doubt)
                self._trouble = None
                if batch is None:
                    assert in_doubt is not None
                    return in_doubt.results
                in_doubt = batch
                self._commit_decided(batch)
                return batch.results
            except NobodyWaits:
                return self._unavailable(submissions, "unreachable")
            except ClockDiffers:
                self._warn_of_clock()
                return self._unavailable(submissions, "clock")
            except Exception as error:  # noqa: BLE001  whatever it is, each command must be answered
                self._writer.disconnect()
                if not _is_out_of_reach(error):
                    return self._one_by_one(submissions, error)
                self._trouble = reason_of(error)
                if self._trouble == "locked":
                    self._watch_holder()
                    self._outage.lost("writer", JournalUnavailable(self._trouble))
                else:
                    DATABASE.lost("writer", error, when_asked=True)
                if all(map(is_answered, submissions)):
                    return self._unavailable(submissions, self._trouble)
                sleep(RECONNECT_SECONDS)

    def _watch_holder(self) -> None:
        """Check whether the writer that holds the head is silent, and have its session ended if it is."""
        with suppress(psycopg.Error), self._database.connect("tallystick watch") as connection:
            self._watch.look(connection)

    def _warn_of_clock(self) -> None:
        if monotonic() >= self._warn_of_clock_at:
            self._warn_of_clock_at = monotonic() + WARN_OF_CLOCK_EVERY_SECONDS
            _log.error("nothing is recorded: the clock differs from the database's")

    def _unavailable(self, submissions: Sequence[Submission], reason: str) -> Sequence[Result]:
        return [JournalUnavailable(reason) for _ in commands_of(submissions)]

    def _one_by_one(self, submissions: Sequence[Submission], error: Exception) -> Sequence[Result]:
        """Commit commands one by one after an error, so that it reaches only the command that causes it."""
        alone = [part for submission in submissions for part in _apart(submission)]
        if len(alone) == 1:
            commands = alone[0].commands
            if is_denied(error):
                DENIALS.note(error)
                return self._unavailable(alone, "denied")
            _log.error("command failed", command=type(commands[0]).__name__, exc_info=error)
            return [error] * len(commands)
        return list(chain(*(self._commit([part]) for part in alone)))

    def _decide_under_lock(
        self, submissions: Sequence[Submission], in_doubt: DecidedBatch | None
    ) -> DecidedBatch | None:
        """Take the head's lock, bring the cache up to date, decide. None if the batch in doubt is found committed."""
        commands = commands_of(submissions)
        needed = streams_of(commands) | own_streams_of(commands)
        cold = self._decider.missing(needed)
        head, rows = self._writer.lock(cold)
        if in_doubt and in_doubt.rows.streams and self._writer.contains(in_doubt.rows):
            _log.info("commit in doubt had taken place", position=in_doubt.rows.last)
            self._writer.release()
            return None
        if all(map(is_answered, submissions)):
            self._writer.release()
            raise NobodyWaits
        self._catch_up(head.position)
        self._decider.learn(cold, rows)
        self._load(needed, self._writer)
        needed |= self._decider.following_streams(commands)
        self._load(needed, self._writer)
        self.position = head.position
        self._decider.recorded_at = head.recorded_at
        return self._decider.decide(submissions, needed)

    def _commit_decided(self, batch: DecidedBatch) -> None:
        try:
            self._append(batch)
        except BaseException:
            self._decider.undo(batch)
            raise
        self._committed(batch, {})

    def _append(self, batch: DecidedBatch) -> None:
        if batch.rows.streams:
            self._writer.append_locked(batch.values)
        else:
            self._writer.release()

    def _catch_up(self, head: int) -> None:
        """Apply to the cached aggregates what others appended since this writer last held the lock."""
        known = self._decider.position
        if head == known:
            return
        is_short = head - known <= MAX_CATCH_UP_EVENTS
        rows = self._writer.between(known, head, MAX_CATCH_UP_BYTES) if is_short else []
        if rows and rows[-1][4] == head:
            self._decider.apply(rows, head)
        else:
            self._decider.forget_all(head)

    def _load(self, streams: set[str], connection: JournalWriter) -> None:
        if missing := self._decider.missing(streams):
            self._decider.learn(missing, connection.load(missing))

    def _committed(self, batch: DecidedBatch, since: Mapping[str, State]) -> None:
        """Note a commit and offer snapshots. `since` is the parameter of `Decider.settled`."""
        DATABASE.back("writer")
        self._outage.back("writer")
        self.position = batch.rows.last
        self._trouble = None
        self._observe(len(batch.results), len(batch.rows.streams), monotonic() - batch.decided_at_seconds)
        self._snapshotter.consider(self._decider.settled(batch, since))

    # Ahead of the lock.

    def _commit_few(self, submissions: Sequence[Submission]) -> Sequence[Result]:
        """Return a result for each command, whatever happens; in one round trip if possible."""
        ahead = self._decide_ahead(submissions)
        if ahead is None:
            return self._commit(submissions)
        try:
            self._commit_ahead(ahead)
            self._committed(ahead.batch, {})
        except Exception as error:  # noqa: BLE001  it is tried again under the lock, which classifies the error
            return self._commit_after_all(ahead, error)
        return ahead.batch.results

    def _decide_ahead(self, submissions: Sequence[Submission]) -> Ahead | None:
        """Decide on the states that the batch under way, or the last one, leaves. None if that is not possible now.

        Streams that keyed requests begin are taken to be new without looking. If one is not new, its append fails on
        the journal's own uniqueness. A command that records nothing would not be checked this way, so it is decided
        under the lock instead.
        """
        self._not_ahead = max(0, self._not_ahead - 1)
        if self._not_ahead or not self.position or any(submission.dry_run for submission in submissions):
            return None
        commands = commands_of(submissions)
        needed, own = streams_of(commands), own_streams_of(commands)
        try:
            self._load(needed, self._reader_ahead)
            needed |= self._decider.following_streams(commands)
            self._load(needed, self._reader_ahead)
            self._decider.learn(self._decider.missing(own), ())
            batch = self._decider.decide(submissions, needed | own)
        except Exception as error:  # noqa: BLE001
            # It is tried again under the lock, which classifies the error. The streams loaded here may contain events
            # that others appended after the known position, which catching up would apply a second time.
            if not is_lost(error):
                _log.info("could not decide ahead", error=type(error).__name__)
            self._decider.forget(needed | own)
            self._reader_ahead.disconnect()
            return None
        if any(isinstance(result, Exception) for result in batch.results):
            self._not_ahead = BATCHES_NOT_AHEAD_AFTER_A_REFUSAL
            self._decider.undo(batch)
            return None
        return Ahead(submissions, batch, batch.values)

    def _begin_commit(self, ahead: Ahead) -> UnderWay:
        """Have the commit thread commit what was decided ahead."""
        committed = self._committer.submit(self._commit_ahead, ahead)
        committed.add_done_callback(self._queue.wake)
        return UnderWay(ahead, committed)

    def _commit_ahead(self, ahead: Ahead) -> None:
        """Commit what was decided ahead; raise `MissedGuess` if the guess was wrong."""
        if ahead.batch.rows.streams:
            try:
                is_right = self._writer.append(ahead.values)
            except (psycopg.IntegrityError, ClockDiffers) as error:
                raise MissedGuess from error
        else:
            try:
                head, _ = self._writer.lock(())
            except ClockDiffers as error:
                raise MissedGuess from error
            self._writer.release()
            is_right = head.position == ahead.batch.rows.after
        if not is_right:
            raise MissedGuess

    def _is_committed(self, under_way: UnderWay, after: Ahead | None) -> bool:
        """Wait for the batch under way. If it failed, undo `after`, commit and answer the batch under the lock."""
        try:
            under_way.committed.result()
        except Exception as error:  # noqa: BLE001  it is tried again under the lock, which classifies the error
            if after:
                self._decider.undo(after.batch)
            _reply(under_way.ahead.submissions, self._commit_after_all(under_way.ahead, error))
            return False
        return True

    def _commit_after_all(self, ahead: Ahead, error: Exception) -> Sequence[Result]:
        """Return a result for each command, whatever happens. `error` is why it could not be committed ahead."""
        if not is_lost(error):
            _log.info("deciding ahead missed", error=repr(error.__cause__ or error))
        self._not_ahead = BATCHES_NOT_AHEAD_AFTER_A_MISS
        self._decider.undo(ahead.batch)
        if isinstance(error, MissedGuess):
            return self._commit(ahead.submissions)
        self._writer.disconnect()
        self._trouble = reason_of(error)
        return self._commit(ahead.submissions, ahead.batch)


def _is_out_of_reach(error: Exception) -> bool:
    """Tell whether the same commands may succeed later, on another connection."""
    if isinstance(error, psycopg.errors.PipelineAborted):
        return False  # its class is OperationalError, but a refusal aborted the pipeline
    return isinstance(error, (*LOST, psycopg.errors.ReadOnlySqlTransaction))


def reason_of(error: BaseException) -> str:
    """Return the word for why the journal is unavailable, given the error of the database or of the library."""
    is_locked = isinstance(error, psycopg.errors.LockNotAvailable) or isinstance(
        error.__cause__, psycopg.errors.LockNotAvailable
    )
    return "locked" if is_locked else "unreachable"


def _apart(submission: Submission) -> Sequence[Submission]:
    """Return the parts that can be decided separately: each command, unless the commands belong together."""
    if submission.all_or_none or submission.dry_run:
        return [submission]
    return [submission._replace(commands=[command]) for command in submission.commands]


def _reply(submissions: Sequence[Submission], results: Sequence[Result]) -> None:
    first = 0
    for submission in submissions:
        after = first + len(submission.commands)
        try:
            submission.reply(results[first:after])
        except Exception:  # noqa: BLE001  a fault in the caller's `reply` must not end the writer
            _log.exception("reply failed")
        first = after
