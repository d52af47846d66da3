"""Advancing one version of a projection by a batch of events: exactly once, whatever happens meanwhile.

A batch is read and folded in memory, and written in the transaction that moves the position, by
compare-and-set. A runner whose version was paused, replaced or taken over meanwhile changes nothing.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from domain.events import Recorded
from domain.journal.encoding import UnreadableEvent, decode
from domain.journal.queries import load
from projections.projection import Projection

_SQL = load("projections", "batches.sql")


class Batch(NamedTuple):
    """The events that a projection reads of the positions after `after` up to `upto`.

    `obstacle` says why the batch ends at `upto` and not later, if it could not.
    """

    after: int
    upto: int
    events: list[Recorded]
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


def read_batch(connection: Connection[Any], projection: Projection, after: int, upto: int) -> Batch:
    """Return the batch of a range of committed positions.

    It ends before a position that is missing from the journal and before an event that cannot be read.
    """
    wanted = {
        "after": after,
        "upto": upto,
        "topics": projection.topics,
        "continuing": projection.continuing_topics,
    }
    with connection.pipeline():
        counting = connection.execute(_SQL["count"], wanted, prepare=True)
        reading = connection.execute(_SQL["events"], wanted, prepare=True, binary=True)
        (count,) = counting.fetchone() or (0,)
        rows = reading.fetchall()
    obstacle = None
    if count != upto - after:
        (missing,) = connection.execute(_SQL["first_gap"], wanted).fetchone() or (after + 1,)
        obstacle = f"the journal has a gap: event {missing} is missing"
        rows = [row for row in rows if row[4] < missing]
        upto = missing - 1
    return batch_of(after, upto, ((row[4], partial(decode, *row)) for row in rows), obstacle)


def batch_of(
    after: int,
    upto: int,
    stored: Iterable[tuple[int, Callable[[], Recorded]]],
    obstacle: str | None = None,
) -> Batch:
    """Return the batch of events that are given by their positions and how to decode each."""
    events = []
    for position, recorded in stored:
        try:
            events.append(recorded())
        except UnreadableEvent as error:
            return Batch(after, position - 1, events, f"{error.reason}: {error}")
    return Batch(after, upto, events, obstacle)


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
