"""A commit under the lock: lock, catch up, decide, append, commit. It can commit every batch.

Decisions are made under the lock on the head, so there are no conflicts to retry.
"""

from collections.abc import Sequence
from typing import NamedTuple

import psycopg

from domain.commit.decider import DecidedBatch, Decider, Submission, commands_of, own_streams_of, streams_of
from domain.commit.loading import catch_up, load_needed, missed
from domain.commit.progress import CommitProgress
from domain.journal.writer import JournalWriter, Locked
from domain.model.commands import Command

# A wrong guess is likely to repeat: requests are repeated, or refused.
BATCHES_LOOKED_UP_AFTER_A_REPETITION = 50
BATCHES_LOOKED_UP_AFTER_A_REFUSAL = 10


class KeyNotNew(Exception):
    """A key that was taken to be new is not new. Nothing was recorded, and the lock is free."""


class Attempt(NamedTuple):
    """Some commands, and what the writer found when it took the lock.

    `needed` are the streams that must be known to decide. `guessed` are needed too, but taken to be new without
    looking: keyed requests begin them. `cold` are the streams that were loaded with the lock.
    """

    locked: Locked
    commands: Sequence[Command]
    needed: set[str]
    guessed: set[str]
    cold: set[str]


class LockedCommit:
    """One attempt to commit a batch: `lock`, then `decide` and `commit`, or `release`.

    A key is nearly always new, so an attempt may take that for granted: looking for it costs as much as recording an
    event. If the key is not new, the append fails on the journal's own uniqueness. A command that records nothing would
    not be checked this way, so then the keys are looked up under the lock, and all is decided again.

    Every method raises `psycopg.Error`. Call `disconnect` after that, which also gives up the lock.
    """

    def __init__(self, decider: Decider, writer: JournalWriter, progress: CommitProgress) -> None:
        self._decider = decider
        self._writer = writer
        self._progress = progress
        self._looked_up = 0
        """For how many more batches keys are looked up."""

    def lock(self, submissions: Sequence[Submission], *, may_guess: bool = False) -> Attempt:
        """Take the head's lock, load the streams that are not known, and read what others appended.

        `may_guess` takes keys to be new if that is likely. Raises `ClockDiffers`, without the lock.
        """
        may_guess = may_guess and not self._looked_up
        self._looked_up = max(0, self._looked_up - 1)
        commands = commands_of(submissions)
        needed, own = streams_of(commands), own_streams_of(commands)
        guessed = own if may_guess and not _is_dry(submissions) else set()
        needed |= own - guessed
        cold = self._decider.missing(needed)
        locked = self._writer.lock(cold, missed(self._decider) if self._decider.position else None)
        return Attempt(locked, commands, needed, guessed, cold)

    def grown(self, attempt: Attempt, more: Sequence[Submission]) -> Attempt:
        """Add submissions to what was locked for others. Their streams are loaded under the lock."""
        commands = commands_of(more)
        own = own_streams_of(commands)
        guessed = own if attempt.guessed and not _is_dry(more) else set()
        return attempt._replace(
            commands=[*attempt.commands, *commands],
            needed=attempt.needed | streams_of(commands) | (own - guessed),
            guessed=attempt.guessed | guessed,
        )

    def took_place(self, batch: DecidedBatch) -> bool:
        """Tell, under the lock, whether a batch was committed by an attempt that was not acknowledged."""
        return bool(batch.rows.streams) and self._writer.contains(batch.rows)

    def release(self) -> None:
        """Free the lock. Nothing is recorded."""
        self._writer.release()

    def decide(self, submissions: Sequence[Submission], attempt: Attempt) -> DecidedBatch:
        """Bring the cache up to date, and decide."""
        head = attempt.locked.head
        catch_up(self._decider, head.position, attempt.locked.missed, self._writer)
        self._progress.position = head.position
        self._decider.recorded_at = head.recorded_at
        try:
            self._decider.learn(attempt.cold, attempt.locked.loaded)
            batch = self._guess(submissions, attempt) if attempt.guessed else None
            if batch is None:
                self._decider.forget(attempt.guessed)
                batch = self._decide(submissions, attempt.needed | attempt.guessed, attempt.commands)
        except BaseException:
            # What others append is applied only to what is known between two batches: ledgers and accounts.
            self._decider.forget(attempt.needed | attempt.guessed)
            raise
        return batch

    def _guess(self, submissions: Sequence[Submission], attempt: Attempt) -> DecidedBatch | None:
        """Decide as if keys were new; None if nothing would show that they are not, or something shows it already.

        A command that is refused records nothing. One whose key is not new may find what it would begin, such as a
        payout, and raises whatever that leads to.
        """
        self._decider.assume_new(attempt.guessed)
        try:
            batch = self._decide(submissions, attempt.needed | attempt.guessed, attempt.commands)
        except psycopg.Error:
            raise
        except Exception:  # noqa: BLE001  it is decided again, with the keys looked up
            batch = None
        if batch and not any(isinstance(result, Exception) for result in batch.results):
            return batch
        self._looked_up = BATCHES_LOOKED_UP_AFTER_A_REFUSAL
        if batch:
            self._decider.undo(batch)
        self._decider.forget(attempt.needed)
        return None

    def _decide(
        self, submissions: Sequence[Submission], needed: set[str], commands: Sequence[Command]
    ) -> DecidedBatch:
        load_needed(self._decider, commands, needed, self._writer)
        return self._decider.decide(submissions, needed)

    def commit(self, batch: DecidedBatch, attempt: Attempt) -> None:
        """Append what was decided and commit it. After an error nobody knows whether the commit took place.

        Raises `KeyNotNew` if a guess was wrong.
        """
        try:
            if batch.rows.streams:
                self._writer.append_locked(batch.values)
            else:
                self._writer.release()
        except BaseException as error:
            self._decider.undo(batch)
            if attempt.guessed and isinstance(error, psycopg.IntegrityError):
                self._looked_up = BATCHES_LOOKED_UP_AFTER_A_REPETITION
                self._writer.release()
                raise KeyNotNew from error
            raise
        self._progress.committed(batch, {})

    def disconnect(self) -> None:
        """Close the connection, and forget what it has shown. The next attempt opens another.

        That one may lead to a server that was promoted meanwhile. Its history may lack what the last one showed, and
        have other events at the same positions.
        """
        self._writer.disconnect()
        self._decider.forget_all(0)
        self._progress.position = 0


def _is_dry(submissions: Sequence[Submission]) -> bool:
    return any(submission.dry_run for submission in submissions)
