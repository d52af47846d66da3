"""A commit under the lock: lock, catch up, decide, append, commit. It can commit every batch.

Decisions are made under the lock on the head, so there are no conflicts to retry.
"""

from collections.abc import Sequence
from typing import NamedTuple

from domain.commit.decider import DecidedBatch, Decider, Submission, commands_of, own_streams_of, streams_of
from domain.commit.loading import catch_up, load_needed, missed
from domain.commit.progress import CommitProgress
from domain.journal.writer import JournalWriter, Locked
from domain.model.commands import Command


class Attempt(NamedTuple):
    """Some commands, and what the writer found when it took the lock. `cold` are the streams that were not known."""

    locked: Locked
    commands: Sequence[Command]
    needed: set[str]
    cold: set[str]


class LockedCommit:
    """One attempt to commit a batch: `lock`, then `decide` and `commit`, or `release`.

    Every method raises `psycopg.Error`. Call `disconnect` after that, which also gives up the lock.
    """

    def __init__(self, decider: Decider, writer: JournalWriter, progress: CommitProgress) -> None:
        self._decider = decider
        self._writer = writer
        self._progress = progress

    def lock(self, submissions: Sequence[Submission]) -> Attempt:
        """Take the head's lock, load the streams that are not known, and read what others appended.

        Raises `ClockDiffers`, without the lock.
        """
        commands = commands_of(submissions)
        needed = streams_of(commands) | own_streams_of(commands)
        cold = self._decider.missing(needed)
        locked = self._writer.lock(cold, missed(self._decider) if self._decider.position else None)
        return Attempt(locked, commands, needed, cold)

    def grown(self, attempt: Attempt, more: Sequence[Submission]) -> Attempt:
        """Add submissions to what was locked for others. Their streams are loaded under the lock."""
        commands = commands_of(more)
        needed = streams_of(commands) | own_streams_of(commands)
        return attempt._replace(commands=[*attempt.commands, *commands], needed=attempt.needed | needed)

    def took_place(self, batch: DecidedBatch) -> bool:
        """Tell, under the lock, whether a batch was committed by an attempt that was not acknowledged."""
        return bool(batch.rows.streams) and self._writer.contains(batch.rows)

    def release(self) -> None:
        """Free the lock. Nothing is recorded."""
        self._writer.release()

    def decide(self, submissions: Sequence[Submission], attempt: Attempt) -> DecidedBatch:
        """Bring the cache up to date, and decide."""
        head = attempt.locked.head
        catch_up(self._decider, head.position, attempt.locked.missed)
        self._decider.learn(attempt.cold, attempt.locked.loaded)
        load_needed(self._decider, attempt.commands, attempt.needed, self._writer)
        self._progress.position = head.position
        self._decider.recorded_at = head.recorded_at
        return self._decider.decide(submissions, attempt.needed)

    def commit(self, batch: DecidedBatch) -> None:
        """Append what was decided and commit it. After an error nobody knows whether the commit took place."""
        try:
            if batch.rows.streams:
                self._writer.append_locked(batch.values)
            else:
                self._writer.release()
        except BaseException:
            self._decider.undo(batch)
            raise
        self._progress.committed(batch, {})

    def disconnect(self) -> None:
        """Close the connection. The next attempt opens another."""
        self._writer.disconnect()
