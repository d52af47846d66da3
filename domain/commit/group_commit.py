"""The write path: lock, catch up, decide, append, commit. One database transaction serves all waiting commands.

Commands that arrive during a commit are decided together in the next one, by the one writer thread of the process.
Decisions are made under the lock on the head, so there are no conflicts to retry, and a hot account costs the same as a
thousand cold ones. Any number of processes may write at once: the lock serialises their batches, and a writer that
finds the head moved first reads what the others appended (domain/README.md, Group commit).

`queue` collects the commands of a batch. `pipeline` decides the batch ahead of the lock, and commits it if the guess
was right. `recovery` commits under the lock what cannot be decided ahead or was not committed ahead. If much waits, a
batch is decided while the last one is still being committed.
"""

import gc
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

import structlog

from domain.commit.decider import Decider, Reply, Result, Submission
from domain.commit.loading import warm_up
from domain.commit.locked_commit import LockedCommit
from domain.commit.patience import Patience
from domain.commit.pipeline import Ahead, MissedGuess, Pipeline, UnderWay
from domain.commit.progress import CommitProgress
from domain.commit.queue import SubmissionQueue, is_much
from domain.commit.recovery import Recovery, Settled
from domain.commit.spans import tell_commit
from domain.journal.database import Database
from domain.journal.outage import is_lost
from domain.journal.snapshots import Snapshotter
from domain.journal.writer import ANNOUNCE_SECONDS, JournalWriter, Timekeeping
from domain.model.commands import Command
from domain.model.times import Instant
from domain.tracing import Tracer

_LEARNED = object()
_log = structlog.get_logger(__name__)


class GroupCommit:
    """Decides and commits commands in batches, in its own thread."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], Instant],
        observe: Callable[[int, int, float], None] = lambda commands, events, seconds: None,
        max_clock_difference_seconds: float | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """`observe` is called for each batch with commands, events, and seconds from decision to commit.

        While the clock differs from the database's by more than `max_clock_difference_seconds`, nothing is recorded.
        None turns this check off. `tracer` is told of the commands of sampled traces.
        """
        self._snapshotter = Snapshotter(database)
        timekeeping = Timekeeping(clock, max_clock_difference_seconds)
        self._writer = JournalWriter(database, "tallystick writer", timekeeping)
        self._reader_ahead = JournalWriter(database, "tallystick reader ahead")
        self._decider = Decider(clock)
        self._parts_to_learn: Iterator[None] | None = warm_up(self._decider, self._writer)
        self._tracer = tracer
        self._progress = CommitProgress(database, self._decider, self._snapshotter, observe)
        self._pipeline = Pipeline(self._decider, self._writer, self._reader_ahead, self._progress)
        self._locked_commit = LockedCommit(self._decider, self._writer, self._progress)
        self._patience = Patience(
            self._reason, self._progress.outage, self._progress.database_outage, monotonic
        )
        self._queue = SubmissionQueue(self._patience)
        self._recovery = Recovery(database, self._locked_commit, self._progress, self._queue.collect_more)
        self._thread = threading.Thread(target=self._run, name="group commit", daemon=True)

    @property
    def position(self) -> int:
        """The newest position of the journal that this writer knows to be committed."""
        return self._progress.position

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
        self._pipeline.stop()
        self._writer.disconnect()
        self._reader_ahead.disconnect()

    def submit(
        self,
        commands: Sequence[Command],
        reply: Reply,
        *,
        all_or_none: bool = False,
        dry_run: bool = False,
        asked_at_seconds: float | None = None,
    ) -> None:
        """Queue commands to be decided in order, in one transaction.

        More than `MAX_BATCH_COMMANDS` commands that may fail independently are split into several transactions, and
        other commands may come between them. `reply` is called once, in the writer's thread and only after the commit,
        with an `Outcome` for each command or the exception that refused it. If the journal is in trouble and
        `PATIENCE_SECONDS` are over, `reply` is called in another thread, with `JournalUnavailable` for each command: it
        is then not known whether they were recorded. With `all_or_none`, the first refused command, by an exception or
        by a rule, undoes all of them, and each gets the same `BatchRejected`. A `dry_run` is decided as if it were to
        be recorded, then undone. `asked_at_seconds` is when they were asked for, by the monotonic clock, if that was
        before: patience counts from then. Without commands, `reply` is called at once, with no results. Raises
        `JournalUnavailable` once stopping, and `Overloaded` if too many commands wait.
        """
        if not commands:  # nothing would wake the writer
            reply(())
            return
        self._queue.put(
            commands, reply, all_or_none=all_or_none, dry_run=dry_run, asked_at_seconds=asked_at_seconds
        )

    def _reason(self) -> str | None:
        """Return why nothing is recorded now, or None if all is well."""
        is_overdue = self._writer.is_overdue or self._reader_ahead.is_overdue
        return self._progress.trouble or ("unreachable" if is_overdue else None)

    def _run(self) -> None:
        under_way: UnderWay | None = None
        is_over = False
        while not is_over:
            if under_way is None:
                self._announce()
                if self._parts_to_learn is not None:
                    self._warm_up(self._parts_to_learn)
            submissions = self._queue.collect(under_way and under_way.committed)
            is_over = not (submissions or under_way) and self._queue.is_over()
            under_way = self._turn(submissions, under_way)

    def _warm_up(self, parts: Iterator[None]) -> None:
        """Learn what the next commands will need, one part after the other while none waits."""
        try:
            while not (self.waiting_commands or self._queue.is_over()):
                if next(parts, _LEARNED) is _LEARNED:
                    self._parts_to_learn = None
                    return
        except Exception as error:  # noqa: BLE001  whatever it is, commands must be taken
            _log.info("could not warm up", error=type(error).__name__)
            self._parts_to_learn = None
            self._decider.forget_all(0)
            self._writer.disconnect()

    def _announce(self) -> None:
        """Announce the newest commit if it is not, unless another follows soon, which announces both."""
        writer = self._writer
        if not writer.owes_announcement:
            return
        if not (writer.is_announcement_late or self._queue.is_idle_for(ANNOUNCE_SECONDS)):
            return
        try:
            writer.announce()
        except Exception as error:  # noqa: BLE001  whatever it is, commands must be taken
            if not is_lost(error):
                _log.info("could not announce", error=type(error).__name__)
            self._locked_commit.disconnect()

    def _turn(self, submissions: Sequence[Submission], under_way: UnderWay | None) -> UnderWay | None:
        """Finish the batch under way, and commit submissions or begin to. Returns the batch that is under way then."""
        is_large = is_much(submissions)
        ahead = self._pipeline.decide(submissions) if is_large else None
        if under_way and (error := under_way.failure()) is not None:
            if ahead:
                self._decider.undo(ahead.batch)
            self._reply(under_way.ahead.submissions, self._commit_after_all(under_way.ahead, error))
            under_way = ahead = None
        # The next commit begins before the last is answered, so that the database is not idle meanwhile.
        begun = self._pipeline.begin(ahead, self._queue.wake) if ahead else None
        if under_way:
            self._progress.committed(under_way.ahead.batch, ahead.batch.before if ahead else {})
            self._reply(under_way.ahead.submissions, under_way.ahead.batch.results)
        if submissions and not ahead:
            commit = self._recovery.commit_with_more if is_large else self._commit_few
            self._reply(*commit(submissions))
        return begun

    def _commit_few(self, submissions: Sequence[Submission]) -> Settled:
        """Return a result for each command, whatever happens; in one round trip if possible."""
        ahead = self._pipeline.decide(submissions)
        if ahead is None:
            return self._recovery.commit_with_more(submissions)
        try:
            self._pipeline.commit(ahead)
            self._progress.committed(ahead.batch, {})
        except Exception as error:  # noqa: BLE001  it is tried again under the lock, which classifies the error
            return Settled(submissions, self._commit_after_all(ahead, error))
        return Settled(submissions, ahead.batch.results)

    def _commit_after_all(self, ahead: Ahead, error: Exception) -> Sequence[Result]:
        """Return a result for each command, whatever happens. `error` is why it could not be committed ahead."""
        self._pipeline.give_up(ahead, error)
        if isinstance(error, MissedGuess):
            return self._recovery.commit(ahead.submissions)
        return self._recovery.commit_in_doubt(ahead.submissions, ahead.batch, error)

    def _reply(self, submissions: Sequence[Submission], results: Sequence[Result]) -> None:
        if self._tracer is None:
            _answer(submissions, results)
            return
        answered_at_seconds = monotonic()
        _answer(submissions, results)
        decided_at_seconds = self._progress.decided_at_seconds
        tell_commit(self._tracer, submissions, results, decided_at_seconds, answered_at_seconds)


def _answer(submissions: Sequence[Submission], results: Sequence[Result]) -> None:
    first = 0
    for submission in submissions:
        after = first + len(submission.commands)
        try:
            submission.reply(results[first:after])
        except Exception:  # noqa: BLE001  a fault in the caller's `reply` must not end the writer
            _log.exception("reply failed")
        first = after
