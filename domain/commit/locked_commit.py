"""A commit under the lock: lock, catch up, decide, append, commit. It can commit every batch.

Decisions are made under the lock on the head, so there are no conflicts to retry.
"""

from collections.abc import Sequence
from typing import NamedTuple

from domain.commit.decider import DecidedBatch, Decider, Submission, commands_of, own_streams_of, streams_of
from domain.commit.loading import catch_up, load_needed
from domain.commit.progress import CommitProgress
from domain.journal.reader import Row
from domain.journal.writer import Head, JournalWriter
from domain.model.commands import Command


class Locked(NamedTuple):
    """What a writer found when it took the lock for some commands. `cold` are the streams that were not known."""

    head: Head
    commands: Sequence[Command]
    needed: set[str]
    cold: set[str]
    rows: list[Row]


class LockedCommit:
    """One attempt to commit a batch: `lock`, then `decide` and `commit`, or `release`.

    Every method raises `psycopg.Error`. Call `disconnect` after that, which also gives up the lock.
    """

    def __init__(self, decider: Decider, writer: JournalWriter, progress: CommitProgress) -> None:
        self._decider = decider
        self._writer = writer
        self._progress = progress

    def lock(self, submissions: Sequence[Submission]) -> Locked:
        """Take the head's lock, and load the streams that are not known. Raises `ClockDiffers`, without the lock."""
        commands = commands_of(submissions)
        needed = streams_of(commands) | own_streams_of(commands)
        cold = self._decider.missing(needed)
        head, rows = self._writer.lock(cold)
        return Locked(head, commands, needed, cold, rows)

    def took_place(self, batch: DecidedBatch) -> bool:
        """Tell, under the lock, whether a batch was committed by an attempt that was not acknowledged."""
        return bool(batch.rows.streams) and self._writer.contains(batch.rows)

    def release(self) -> None:
        """Free the lock. Nothing is recorded."""
        self._writer.release()

    def decide(self, submissions: Sequence[Submission], locked: Locked) -> DecidedBatch:
        """Bring the cache up to date, and decide."""
        catch_up(self._decider, locked.head.position, self._writer)
        self._decider.learn(locked.cold, locked.rows)
        load_needed(self._decider, locked.commands, locked.needed, self._writer)
        self._progress.position = locked.head.position
        self._decider.recorded_at = locked.head.recorded_at
        return self._decider.decide(submissions, locked.needed)

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
