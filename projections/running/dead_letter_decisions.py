"""An operator's decision about a dead letter: retry its event, or discard it.

The decision is carried out at once, in one transaction that locks the version of the projection. It writes the event
and everything held behind it, closes the letter, and hands the stream back to the projector at the version's position.
So a crash leaves either the state from before or the finished decision. It makes no difference whether a projector
runs, is paused or has halted. The answer tells what became of the letter. The projection waits meanwhile, for about as
long as a rebuild takes for the same number of events.
"""

from typing import Any, NamedTuple
from uuid import UUID, uuid4

import structlog
from psycopg import Connection, errors

from domain.journal.encoding import NewerVersion, UnreadableEvent, decode
from domain.journal.queries import load
from domain.journal.reader import Row
from domain.model.errors import JournalUnavailable
from domain.model.events import Context, Recorded
from domain.model.streams import ledger_of, name_of
from projections.engine.batches import MAX_BATCH_BYTES
from projections.engine.dead_letters import DeadLetter, LetterState, add_letter, failure, find_letter, writer
from projections.engine.poison import Poison, PoisonFinder, UnreadablePoison
from projections.engine.projection import Projection
from projections.errors import DeadLetterClosed, ProjectionBehind
from projections.registry import find_projection

BATCH_EVENTS = 5_000
PATIENCE_SECONDS = 5

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class _Stream(NamedTuple):
    """A held stream, in a version of a projection that is locked at position `upto`."""

    connection: Connection[Any]
    projection: Projection
    version: int
    name: str
    upto: int

    def replay(self, after: int) -> Poison | None:
        """Write the events after a version of the stream; return the one that failed, if one did."""
        write = writer(self.connection, self.projection, self.version)
        isolation = PoisonFinder(self.connection.transaction, write, set(), room=1)
        while rows := self._rows(after):
            isolation.apply([_event(row) for row in rows])
            if isolation.poison:
                return isolation.poison[0]
            after = rows[-1][1]
        return None

    def skip(self, version: int) -> None:
        """Let the stored state of the stream skip the event of this version."""
        queries = self.projection.queries(self.version)
        if "skip" in queries:
            row = {"ledger": ledger_of(self.name), "name": name_of(self.name), "stream": self.name}
            queries["skip"].run(self.connection, {**row, "version": version})

    def _rows(self, after: int) -> list[Row]:
        wanted = {
            "stream": self.name,
            "after": after,
            "upto": self.upto,
            "topics": self.projection.topics,
            "continuing": self.projection.non_initial_topics,
            "limit": BATCH_EVENTS,
            "most_bytes": MAX_BATCH_BYTES,
        }
        return _SQL["held_events"].rows(self.connection, wanted, binary=True)


def retry(
    connection: Connection[Any], id: UUID, by: Context, reason: str = "", *, dry_run: bool = False
) -> DeadLetter:
    """Apply the event of a letter and then, in order, everything held behind it; return the letter.

    If the event fails again, the letter stays open, with one more attempt and the new reason. If a later event fails,
    the events before it stay applied, and a new letter holds the rest. A resolved letter is returned unchanged. With
    `dry_run`, all of it is undone again: the letter is returned as it would be. Raises `DeadLetterNotFound`;
    `JournalUnavailable` if another decision is being carried out or another release must do it; `ProjectionBehind`
    while the version is being rebuilt; and `DeadLetterClosed`.
    """
    return _decide(connection, id, "resolved", by, reason, dry_run=dry_run)


def discard(connection: Connection[Any], id: UUID, by: Context, reason: str) -> DeadLetter:
    """Skip the event of a letter for good, and apply in order everything held behind it; return the letter.

    The event is skipped in this version of the projection only: a rebuild meets it again. A reason is required. If a
    later event fails, a new letter holds the rest. A discarded letter is returned unchanged. Raises as `retry` does.
    """
    return _decide(connection, id, "discarded", by, reason)


def _decide(
    connection: Connection[Any],
    id: UUID,
    decision: LetterState,
    by: Context,
    reason: str,
    *,
    dry_run: bool = False,
) -> DeadLetter:
    with connection.transaction(force_rollback=dry_run):
        letter, upto = _hold_still(connection, id)
        if letter.state == decision:
            return letter
        if letter.state != "open":
            raise DeadLetterClosed
        projection = find_projection(letter.projection)
        stream = _Stream(connection, projection, letter.projection_version, letter.stream, upto)
        after = letter.stream_version - 1
        if decision == "discarded":
            after += 1
            stream.skip(after)
        try:
            poison = stream.replay(after)
        except NewerVersion as error:
            raise JournalUnavailable(error.reason) from error
        if poison and poison.position == letter.position:
            row = {"id": id, "shape": projection.shape, **failure(poison.error)}
            _SQL["fail_again"].run(connection, row)
        else:
            followed_by = _close(stream, letter, decision, by, reason, poison)
            # Of a dry run, the new letter would be undone, and the log would speak of one that nobody finds.
            if poison and not dry_run:
                add_letter(connection, projection, stream.version, poison, 1, followed_by)
        decided = find_letter(connection, id)
    if not dry_run:
        _log.info("dead letter decided", id=str(id), decision=decision, actor=by.actor, state=decided.state)
    return decided


def _hold_still(connection: Connection[Any], id: UUID) -> tuple[DeadLetter, int]:
    """Lock the version of a letter; return the letter as it is under the lock, and the version's position.

    Raises `DeadLetterNotFound`, and `JournalUnavailable` if another decision takes longer than `PATIENCE_SECONDS`. For
    an open letter, raises `ProjectionBehind` while the version is being rebuilt (perhaps by several processes), and
    `JournalUnavailable` if its tables belong to another release.
    """
    _SQL["patience"].run(connection, {"patience_seconds": str(PATIENCE_SECONDS)})
    try:
        row = _SQL["lock_version"].row(connection, {"id": id})
    except errors.LockNotAvailable:
        raise JournalUnavailable("busy", "Another dead letter of this projection is being decided.") from None
    letter = find_letter(connection, id)
    if row is None:  # dropped, and its letters were closed with it
        return letter, 0
    position, shape, state, head = row
    if letter.state == "open":
        if state == "rebuilding":
            raise ProjectionBehind(position, head, state)
        if shape != find_projection(letter.projection).shape:
            raise JournalUnavailable("another_release")
    return letter, position


def _close(
    stream: _Stream,
    letter: DeadLetter,
    decision: LetterState,
    by: Context,
    reason: str,
    poison: Poison | None,
) -> UUID | None:
    """Close a letter. Return the id of the letter that is to hold the rest of the stream, None if nothing failed."""
    followed_by = uuid4() if poison else None
    row = {
        "id": letter.id,
        "state": decision,
        "actor": by.actor,
        "reason": reason or None,
        "correlation_id": by.correlation_id,
        "followed_by": followed_by,
    }
    _SQL["close"].run(stream.connection, row)
    return followed_by


def _event(row: Row) -> Recorded | UnreadablePoison:
    try:
        return decode(*row)
    except NewerVersion:
        raise
    except UnreadableEvent as error:
        return UnreadablePoison(row[0], row[4], error)
