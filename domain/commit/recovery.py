"""Recovery: every command gets a result, whatever happens to the database meanwhile.

A lost connection leaves a batch in doubt: nobody knows whether its commit took place. So the batch is not decided again
before the lock is held. Nothing is in flight then, and the journal shows whether the batch is there. While the database
is out of reach, the same commands are tried again, until they are committed or nobody waits for them. After an error
that another connection would not mend, the commands are committed one by one, so that it reaches only its own command.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from time import monotonic, sleep
from typing import NamedTuple

import psycopg
import structlog

from domain.commit.decider import DecidedBatch, Result, Submission, commands_of
from domain.commit.locked_commit import KeyNotNew, LockedCommit
from domain.commit.progress import CommitProgress
from domain.commit.queue import is_answered
from domain.journal.database import Database
from domain.journal.outage import DENIALS, is_denied, reason_of
from domain.journal.silence import HOLDERS_OF_HEAD, LOST, Watch
from domain.journal.writer import ClockDiffers
from domain.model.errors import JournalUnavailable

RECONNECT_SECONDS = 0.1
WARN_OF_CLOCK_EVERY_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class Settled(NamedTuple):
    """Submissions, and a result for each of their commands."""

    submissions: Sequence[Submission]
    results: Sequence[Result]


class Recovery:
    """Commits under the lock, and tries again until each command has a result."""

    def __init__(
        self,
        database: Database,
        locked_commit: LockedCommit,
        progress: CommitProgress,
        collect_more: Callable[[int], Sequence[Submission]],
    ) -> None:
        """`collect_more` returns the next submissions of the queue for a batch that has so many commands."""
        self._collect_more = collect_more
        self._database = database
        self._locked_commit = locked_commit
        self._progress = progress
        self._watch = Watch(HOLDERS_OF_HEAD, {})
        self._warn_of_clock_at = 0.0

    def commit(self, submissions: Sequence[Submission]) -> Sequence[Result]:
        """Return a result for each command, whatever happens."""
        return self._commit(submissions, None).results

    def commit_with_more(self, submissions: Sequence[Submission]) -> Settled:
        """Commit also what was submitted while the lock was awaited, behind these in the queue.

        Writers that take turns wait most of the time. With what comes meanwhile, each commits half as often.
        """
        return self._commit(submissions, None, may_grow=True)

    def commit_in_doubt(
        self, submissions: Sequence[Submission], batch: DecidedBatch, error: Exception
    ) -> Sequence[Result]:
        """Return a result for each command, whatever happens.

        `batch` is an earlier decision of them, whose commit was requested and, because of `error`, not acknowledged.
        """
        self._locked_commit.disconnect()
        self._progress.trouble = reason_of(error)
        return self._commit(submissions, batch).results

    def _commit(
        self, submissions: Sequence[Submission], in_doubt: DecidedBatch | None, *, may_grow: bool = False
    ) -> Settled:
        may_guess = may_grow
        while True:
            try:
                attempt = self._locked_commit.lock(submissions, may_guess=may_guess)
                if in_doubt and self._locked_commit.took_place(in_doubt):
                    return Settled(submissions, self._found_committed(in_doubt))
                if all(map(is_answered, submissions)):
                    self._locked_commit.release()
                    return Settled(submissions, _unavailable(submissions, "unreachable"))
                if may_grow and not in_doubt:
                    more = self._collect_more(len(attempt.commands))
                    submissions = [*submissions, *more]
                    attempt = self._locked_commit.grown(attempt, more)
                in_doubt = self._locked_commit.decide(submissions, attempt)
                self._progress.trouble = None
                self._locked_commit.commit(in_doubt, attempt)
                return Settled(submissions, in_doubt.results)
            except KeyNotNew:
                in_doubt, may_guess = None, False
            except ClockDiffers:
                self._warn_of_clock()
                return Settled(submissions, _unavailable(submissions, "clock"))
            except Exception as error:  # noqa: BLE001  whatever it is, each command must be answered
                self._locked_commit.disconnect()
                if not _is_out_of_reach(error):
                    return Settled(submissions, self._one_by_one(submissions, error))
                reason = self._note(error)
                if all(map(is_answered, submissions)):
                    return Settled(submissions, _unavailable(submissions, reason))
                sleep(RECONNECT_SECONDS)

    def _found_committed(self, batch: DecidedBatch) -> Sequence[Result]:
        _log.info("commit in doubt had taken place", position=batch.rows.last)
        self._locked_commit.release()
        self._progress.trouble = None
        return batch.results

    def _note(self, error: Exception) -> str:
        """Note that the journal is out of reach, and return the word for why."""
        reason = self._progress.trouble = reason_of(error)
        if reason == "locked":
            self._watch_holder()
            self._progress.outage.lost("writer", JournalUnavailable(reason))
        else:
            self._progress.database_outage.lost("writer", error, when_asked=True)
        return reason

    def _watch_holder(self) -> None:
        """Check whether the writer that holds the head is silent, and have its session ended if it is."""
        with suppress(psycopg.Error), self._database.connect("tallystick watch") as connection:
            self._watch.look(connection)

    def _warn_of_clock(self) -> None:
        if monotonic() >= self._warn_of_clock_at:
            self._warn_of_clock_at = monotonic() + WARN_OF_CLOCK_EVERY_SECONDS
            _log.error("nothing is recorded: the clock differs from the database's")

    def _one_by_one(self, submissions: Sequence[Submission], error: Exception) -> Sequence[Result]:
        """Commit commands one by one after an error, so that it reaches only the command that causes it."""
        alone = [part for submission in submissions for part in _apart(submission)]
        if len(alone) == 1:
            commands = alone[0].commands
            if is_denied(error):
                DENIALS.note(error)
                return _unavailable(alone, "denied")
            _log.error("command failed", command=type(commands[0]).__name__, exc_info=error)
            return [error] * len(commands)
        return list(chain(*(self.commit([part]) for part in alone)))


def _is_out_of_reach(error: Exception) -> bool:
    """Tell whether the same commands may succeed later, on another connection."""
    if isinstance(error, psycopg.errors.PipelineAborted):
        return False  # its class is OperationalError, but a refusal aborted the pipeline
    return isinstance(error, (*LOST, psycopg.errors.ReadOnlySqlTransaction))


def _unavailable(submissions: Sequence[Submission], reason: str) -> Sequence[Result]:
    return [JournalUnavailable(reason) for _ in commands_of(submissions)]


def _apart(submission: Submission) -> Sequence[Submission]:
    """Return the parts that can be decided separately: each command, unless the commands belong together."""
    if submission.all_or_none or submission.dry_run:
        return [submission]
    return [submission._replace(commands=[command]) for command in submission.commands]
