"""Advancing one version of a projection by a batch of events: exactly once, whatever happens meanwhile.

A batch is read and folded in memory, and written in the transaction that moves the position, by
compare-and-set. A runner whose version was paused, replaced or taken over meanwhile changes nothing.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from domain.events import Recorded
from domain.journal.encoding import UnreadableEvent, decode
from domain.journal.queries import load
from domain.journal.reader import Row
from projections.projection import Projection

_SQL = load("projections", "batches.sql")


class Batch(NamedTuple):
    """The events that a projection reads of the positions after `after` up to `upto`, as `Project` takes them.

    `obstacle` says why the batch ends at `upto` and not later, if it could not.
    """

    after: int
    upto: int
    events: list[Any]
    obstacle: str | None = None


class Claim(NamedTuple):
    """A version of a projection, held by a runner that expects it to be in a state."""

    projection: Projection
    version: int
    runner: UUID
    state: str

    def values(self, batch: Batch) -> dict[str, Any]:
        """Return the values that the queries of this module compare and set."""
        return {
            "name": self.projection.name,
            "of_shape": self.projection.of_shape,
            "version": self.version,
            "runner": self.runner,
            "state": self.state,
            "after": batch.after,
            "upto": batch.upto,
        }


def hold(connection: Connection[Any], purpose: str, name: str) -> bool:
    """Take the one place there is for a purpose on a projection; tell whether it was free.

    It is held until the connection ends.
    """
    row = connection.execute(_SQL["hold"], {"purpose": purpose, "name": name}).fetchone()
    return row is not None and bool(row[0])


def take_over(connection: Connection[Any], claim: Claim) -> None:
    """Fence whoever else advances the version."""
    wanted = {"name": claim.projection.name, "version": claim.version, "runner": claim.runner}
    connection.execute(_SQL["take_over"], wanted)


class Part(NamedTuple):
    """One of the parts that streams are divided into, by a hash of their ids: each stream is in one of them whole."""

    number: int
    parts: int


WHOLE = Part(0, 1)


class Stored:
    """An event as it is stored, decoded when it is first asked for."""

    __slots__ = ("_recorded", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        self._recorded: Recorded | None = None

    def recorded(self) -> Recorded:
        """Return the event; raise `UnreadableEvent`. Two threads at once decode it twice, to the same."""
        if self._recorded is None:
            self._recorded = decode(*self.row)
        return self._recorded


class Stretch(NamedTuple):
    """The events of the positions after `after` up to `upto`, for several projections: each is decoded once at most.

    `obstacle` says why it ends at `upto` and not later, if it could not.
    """

    after: int
    upto: int
    events: Sequence[Stored]
    obstacle: str | None = None

    def batch(self, projection: Projection) -> Batch:
        """Return what a projection reads of it; the batch ends before an event that the projection cannot read."""
        if projection.whole:
            return Batch(self.after, self.upto, [event.row for event in self.events], self.obstacle)
        topics, continuing = set(projection.topics), set(projection.continuing_topics)
        events = []
        for event in self.events:
            _, version, topic, _, position = event.row
            if topic in topics or (version > 1 and topic in continuing):
                try:
                    events.append(event.recorded())
                except UnreadableEvent as error:
                    return Batch(self.after, position - 1, events, f"{error.reason}: {error}")
        return Batch(self.after, self.upto, events, self.obstacle)


def read_stretch(
    connection: Connection[Any],
    projections: Collection[Projection],
    after: int,
    upto: int,
    part: Part = WHOLE,
) -> Stretch:
    """Return what projections read of a range of committed positions, and of that only the streams of a part.

    It ends before a position that is missing from the journal, whatever the part. Where one of them is `whole`, that is
    all events.
    """
    topics = sorted({topic for projection in projections for topic in projection.topics})
    wanted = {
        "after": after,
        "upto": upto,
        "topics": None if any(projection.whole for projection in projections) else topics,
        "continuing": sorted({topic for projection in projections for topic in projection.continuing_topics}),
        **part._asdict(),
    }
    with connection.pipeline():
        counting = connection.execute(_SQL["count"], wanted, prepare=True)
        reading = connection.execute(_SQL["events"], wanted, prepare=True, binary=True)
        (count,) = counting.fetchone() or (0,)
        rows = reading.fetchall()
    if count == upto - after:
        return Stretch(after, upto, list(map(Stored, rows)))
    (missing,) = connection.execute(_SQL["first_gap"], wanted).fetchone() or (after + 1,)
    before = [Stored(row) for row in rows if row[4] < missing]
    return Stretch(after, missing - 1, before, f"the journal has a gap: event {missing} is missing")


def read_batch(connection: Connection[Any], projection: Projection, after: int, upto: int) -> Batch:
    """Return the batch of a range of committed positions.

    It ends before a position that is missing from the journal and before an event that cannot be read.
    """
    return read_stretch(connection, (projection,), after, upto).batch(projection)


def advance(
    connection: Connection[Any],
    claim: Claim,
    batch: Batch,
    rate_events_per_second: float,
    channel: str | None,
) -> bool:
    """Write a batch and move the position in one transaction; tell whether the claim still held.

    The new position is announced on the channel, unless that is None. Raises what the projection raises, and
    then nothing was written.
    """
    values = {**claim.values(batch), "rate": rate_events_per_second, "channel": channel}
    with connection.transaction():
        if not connection.execute(_SQL["advance"], values, prepare=True).rowcount:
            return False
        if batch.events:
            claim.projection.project(connection, claim.projection.queries(claim.version), batch.events)
        if channel is not None:
            connection.execute(_SQL["announce"], values, prepare=True)
    return True


def halt(connection: Connection[Any], claim: Claim, batch: Batch, reason: str) -> None:
    """Stop the version where it is, until an operator resumes it, and say why."""
    connection.execute(_SQL["halt"], {**claim.values(batch), "reason": reason})
