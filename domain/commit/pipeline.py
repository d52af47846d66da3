"""The pipeline: decides a batch ahead of the lock, while the commit thread commits the batch before it.

If nobody else writes, the lock tells a writer nothing new. So a batch is decided on the states that the last batch
left, and lock, check, append and commit go to the database in one round trip. Deciding ahead is a guess, and the
database checks it: the head must be where the guess began, and keys that were taken to be new must be new.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import psycopg
import structlog
from msgspec import Struct

from domain.commit.decider import DecidedBatch, Decider, Submission, commands_of, own_streams_of, streams_of
from domain.commit.loading import load_needed
from domain.commit.progress import CommitProgress
from domain.journal.outage import is_lost
from domain.journal.writer import ClockDiffers, JournalWriter

# A wrong guess is likely to repeat: other writers are at work, or requests are repeated, or refused.
BATCHES_NOT_AHEAD_AFTER_A_MISS = 50
BATCHES_NOT_AHEAD_AFTER_A_REFUSAL = 10

_log = structlog.get_logger(__name__)


class MissedGuess(Exception):
    """Another writer has appended since the batch was decided ahead, or a key that was taken to be new is not new.

    Nothing was recorded.
    """


class Ahead(Struct, frozen=True):
    """A batch decided ahead of the lock, with its rows as they will be sent."""

    submissions: Sequence[Submission]
    batch: DecidedBatch
    values: Mapping[str, Any]


class UnderWay(NamedTuple):
    """A batch that the commit thread is committing."""

    ahead: Ahead
    committed: "Future[None]"

    def failure(self) -> Exception | None:
        """Wait for the commit. Returns why it failed, or None if it took place."""
        try:
            self.committed.result()
        except Exception as error:  # noqa: BLE001  the caller tries again under the lock, which classifies the error
            return error
        return None


class Pipeline:
    """Decides batches ahead of the lock, and commits each of them at most once.

    Its owner calls it from one thread. While a batch is under way, only the commit thread uses `writer`.
    """

    def __init__(
        self, decider: Decider, writer: JournalWriter, reader: JournalWriter, progress: CommitProgress
    ) -> None:
        """`writer` commits. `reader` loads streams meanwhile."""
        self._decider = decider
        self._writer = writer
        self._reader = reader
        self._progress = progress
        self._committer = ThreadPoolExecutor(1, "commit")
        self._not_ahead = 0

    def decide(self, submissions: Sequence[Submission]) -> Ahead | None:
        """Decide on the states that the batch under way, or the last one, leaves. None if that is not possible now.

        Streams that keyed requests begin are taken to be new without looking. If one is not new, its append fails on
        the journal's own uniqueness. A command that records nothing would not be checked this way, so it is decided
        under the lock instead.
        """
        self._not_ahead = max(0, self._not_ahead - 1)
        is_dry = any(submission.dry_run for submission in submissions)
        if self._not_ahead or not self._progress.position or is_dry:
            return None
        batch = self._decide(submissions)
        if batch is None:
            return None
        if any(isinstance(result, Exception) for result in batch.results):
            self._not_ahead = BATCHES_NOT_AHEAD_AFTER_A_REFUSAL
            self._decider.undo(batch)
            return None
        return Ahead(submissions, batch, batch.values)

    def _decide(self, submissions: Sequence[Submission]) -> DecidedBatch | None:
        commands = commands_of(submissions)
        needed, own = streams_of(commands), own_streams_of(commands)
        try:
            load_needed(self._decider, commands, needed, self._reader)
            self._decider.assume_new(own)
            return self._decider.decide(submissions, needed | own)
        except Exception as error:  # noqa: BLE001
            # It is tried again under the lock, which classifies the error. The streams loaded here may contain events
            # that others appended after the known position, which catching up would apply a second time.
            if not is_lost(error):
                _log.info("could not decide ahead", error=type(error).__name__)
            self._decider.forget(needed | own)
            self._reader.disconnect()
            return None

    def begin(self, ahead: Ahead, done: Callable[["Future[None]"], None]) -> UnderWay:
        """Have the commit thread commit what was decided ahead. It calls `done` afterwards."""
        committed = self._committer.submit(self.commit, ahead)
        committed.add_done_callback(done)
        return UnderWay(ahead, committed)

    def commit(self, ahead: Ahead) -> None:
        """Commit what was decided ahead; raise `MissedGuess` if the guess was wrong.

        After any other error nobody knows whether the commit took place.
        """
        try:
            is_right = self._append(ahead.batch, ahead.values)
        except (psycopg.IntegrityError, ClockDiffers) as error:
            raise MissedGuess from error
        if not is_right:
            raise MissedGuess

    def _append(self, batch: DecidedBatch, values: Mapping[str, Any]) -> bool:
        """Append a batch if the head is where it begins. A batch without rows is only checked."""
        if batch.rows.streams:
            return self._writer.append(values)
        locked = self._writer.lock(())
        self._writer.release()
        return locked.head.position == batch.rows.after

    def give_up(self, ahead: Ahead, error: Exception) -> None:
        """Forget what a batch left, because its commit failed, and decide under the lock for some time."""
        if not is_lost(error):
            _log.info("deciding ahead missed", error=repr(error.__cause__ or error))
        self._not_ahead = BATCHES_NOT_AHEAD_AFTER_A_MISS
        self._decider.undo(ahead.batch)

    def stop(self) -> None:
        """End the commit thread."""
        self._committer.shutdown()
