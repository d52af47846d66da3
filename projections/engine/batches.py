"""Advancing one version of a projection by a batch of events: exactly once, whatever happens meanwhile.

A batch is read and folded in memory, and written in the transaction that moves the position, by
compare-and-set. A runner whose version was paused, replaced or taken over meanwhile changes nothing.

A batch that cannot be written is tried `ATTEMPTS` times within about an eighth of a second, so that what passes is not
taken for the fault of an event. In the last attempt the poison events become dead letters and all others are written.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import sleep
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import structlog
from psycopg import Connection

from domain.journal.encoding import NewerVersion, UnreadableEvent, decode
from domain.journal.queries import load
from domain.journal.reader import Row
from domain.journal.silence import pipelined
from domain.model.events import Recorded
from projections.engine.dead_letters import MAX_HELD_STREAMS, blocked_streams, write_around, writer
from projections.engine.poison import POISON, Full, describe
from projections.engine.projection import Projection, Queries

PAUSES_SECONDS = (0.03, 0.1)
ATTEMPTS = len(PAUSES_SECONDS) + 1
"""How often an event is tried before it is set aside."""

MAX_BATCH_BYTES = 16 * 1024**2
"""Of what a batch may be of events as they are stored, and of one event more."""

_SQL = load(__name__)
_PASS_OVER = _SQL["pass_over"].replace(":advance", _SQL["advance"])
_log = structlog.get_logger(__name__)


class TooManyHeld(Exception):
    """One more stream would be held behind a dead letter than may be, so the projection goes no further."""

    def __init__(self, full: Full) -> None:
        super().__init__(
            f"{MAX_HELD_STREAMS} streams are held behind dead letters, and {full} would be one more"
        )


class Contradicted(Exception):
    """A `all_events` projection, which can do without no event, cannot take one, so it goes no further."""


class EventBatch(NamedTuple):
    """The events that a projection reads of the positions after `after` up to `upto`, as `Project` takes them.

    `obstacle` says why the batch ends at `upto` and not later, if it could not, and `needs_newer_release` that it is an
    event that a newer release can read. `unreadable` are the positions of events that cannot be decoded, and why.
    `stored_bytes` is how large the events are as they are stored.
    """

    after: int
    upto: int
    events: list[Any]
    obstacle: str | None = None
    unreadable: tuple[tuple[int, UnreadableEvent], ...] = ()
    needs_newer_release: bool = False
    stored_bytes: int = 0


class Claim(NamedTuple):
    """A version of a projection, held by a runner that expects it to be in a state."""

    projection: Projection
    version: int
    runner: UUID
    state: str

    def values(self, batch: EventBatch) -> dict[str, Any]:
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


def take_over(connection: Connection[Any], claim: Claim) -> None:
    """Fence whoever else advances the version."""
    wanted = {"name": claim.projection.name, "version": claim.version, "runner": claim.runner}
    connection.execute(_SQL["take_over"], wanted)


class Part(NamedTuple):
    """One of the parts that streams are divided into, by a hash of their ids: each stream is in one of them whole."""

    number: int
    parts: int


WHOLE = Part(0, 1)


class StoredEvent:
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


@dataclass(frozen=True)
class EventRange:
    """The events of the positions after `after` up to `upto`, for several projections: each is decoded once at most.

    `obstacle` says why it ends at `upto` and not later, if it could not.
    """

    after: int
    upto: int
    events: Sequence[StoredEvent]
    obstacle: str | None = None

    def batch(self, projection: Projection) -> EventBatch:
        """Return what a projection reads of it; the batch ends before an event of a newer release."""
        if projection.all_events:
            rows = [event.row for event in self.events]
            stored_bytes = sum(len(row[3]) for row in rows)
            return EventBatch(self.after, self.upto, rows, self.obstacle, stored_bytes=stored_bytes)
        topics, continuing = set(projection.topics), set(projection.non_initial_topics)
        events: list[Recorded] = []
        stored_bytes = 0
        if self._topics.isdisjoint(topics | continuing):
            return EventBatch(self.after, self.upto, events, self.obstacle)
        unreadable: list[tuple[int, UnreadableEvent]] = []
        for event in self.events:
            _, version, topic, _, position = event.row
            if topic in topics or (version > 1 and topic in continuing):
                try:
                    events.append(event.recorded())
                    stored_bytes += len(event.row[3])
                except NewerVersion as error:  # it will be read when that release has come
                    obstacle = f"{error.reason}: {error}"
                    return EventBatch(
                        self.after,
                        position - 1,
                        events,
                        obstacle,
                        tuple(unreadable),
                        needs_newer_release=True,
                    )
                except UnreadableEvent as error:
                    unreadable.append((position, error))
        return EventBatch(
            self.after,
            self.upto,
            events,
            self.obstacle,
            tuple(unreadable),
            stored_bytes=stored_bytes,
        )

    @cached_property
    def _topics(self) -> frozenset[str]:
        return frozenset(event.row[2] for event in self.events)


def read_stretch(
    connection: Connection[Any],
    projections: Collection[Projection],
    after: int,
    upto: int,
    part: Part = WHOLE,
) -> EventRange:
    """Return what projections read of a range of committed positions, and of that only the streams of a part.

    It ends before a position that is missing from the journal, whatever the part, and with the event that makes it
    larger than `MAX_BATCH_BYTES`. Where one of them reads `all_events`, all events are returned.
    """
    topics = sorted({topic for projection in projections for topic in projection.topics})
    wanted = {
        "after": after,
        "upto": upto,
        "topics": None if any(projection.all_events for projection in projections) else topics,
        "continuing": sorted(
            {topic for projection in projections for topic in projection.non_initial_topics}
        ),
        "most_bytes": MAX_BATCH_BYTES,
        **part._asdict(),
    }
    with pipelined(connection):
        counting = connection.execute(_SQL["count"], wanted, prepare=True)
        reading = connection.execute(_SQL["events"], wanted, prepare=True, binary=True)
        (count,) = counting.fetchone() or (0,)
        rows = reading.fetchall()
    is_full = sum(len(row[3]) for row in rows) >= MAX_BATCH_BYTES
    end = rows[-1][4] if is_full else upto
    if count == upto - after:
        return EventRange(after, end, list(map(StoredEvent, rows)))
    (missing,) = connection.execute(_SQL["first_gap"], wanted).fetchone() or (after + 1,)
    if end < missing:
        return EventRange(after, end, list(map(StoredEvent, rows)))
    before = [StoredEvent(row) for row in rows if row[4] < missing]
    return EventRange(after, missing - 1, before, f"the journal has a gap: event {missing} is missing")


def read_batch(connection: Connection[Any], projection: Projection, after: int, upto: int) -> EventBatch:
    """Return the batch of a range of committed positions.

    It ends before a position that is missing from the journal, before an event of a newer release, and where
    `read_stretch` says that it is too large.
    """
    return read_stretch(connection, (projection,), after, upto).batch(projection)


class Advancing(Protocol):
    """What has a position to be moved: a version as a whole, or a part of one, held by whoever moves it."""

    @property
    def projection(self) -> Projection:
        """Whose version it is."""

    @property
    def version(self) -> int:
        """The number of the version."""

    def values(self, batch: EventBatch) -> dict[str, Any]:
        """Return the values that are compared and set when a batch is written."""


def advance(
    connection: Connection[Any],
    claim: Advancing,
    batch: EventBatch,
    rate_events_per_second: float,
    channel: str | None,
    sql: Queries = _SQL,
) -> bool:
    """Write a batch and move the position in one transaction; tell whether the claim still held.

    Poison events, if they are so at every attempt, become dead letters in the same transaction, and later events of
    their streams are left to these. The new position is announced on the channel, unless that is None. Raises
    `TooManyHeld`: then the position is before the event that is one too many, and a running version is halted there.
    Any other exception means that nothing was written. A projection of `all_events`, which cannot set events aside,
    raises `Contradicted`. `sql` has the queries `advance` and `stop`, by which the position is moved.
    """
    values = {**claim.values(batch), "rate": rate_events_per_second, "channel": channel}
    if channel is not None and not batch.events and not batch.unreadable:
        # So it is for most projections most of the time. A transaction of four statements takes 0.5 ms of the machine,
        # this 0.2, many times a second.
        return connection.execute(_PASS_OVER, values, prepare=True).fetchone() is not None
    # What cannot be decoded will not be at another attempt either.
    for pause_seconds in () if batch.unreadable else PAUSES_SECONDS:
        try:
            return _advance(connection, claim, batch, values, None, sql)
        except POISON as error:
            _log.warning("batch failed", projection=claim.projection.name, reason=describe(error))
            sleep(pause_seconds)
    if claim.projection.all_events:
        try:
            return _advance(connection, claim, batch, values, None, sql)
        except POISON as error:
            raise Contradicted(describe(error)) from error
    return _advance(connection, claim, batch, values, 1 if batch.unreadable else ATTEMPTS, sql)


def _advance(
    connection: Connection[Any],
    claim: Advancing,
    batch: EventBatch,
    values: dict[str, Any],
    attempts: int | None,
    sql: Queries,
) -> bool:
    """Write a batch: as a whole, or, after so many attempts, around its poison events."""
    full = None
    with connection.transaction():
        moved = connection.execute(sql["advance"], values, prepare=True).fetchone()
        if moved is None:
            return False
        if attempts:
            full = write_around(
                connection, claim.projection, claim.version, batch.events, batch.unreadable, attempts
            )
        elif events := _free(connection, claim, batch.events) if moved[0] else batch.events:
            writer(connection, claim.projection, claim.version)(events)
        if full:
            values = {**values, "upto": full.poison.position - 1, "reason": str(TooManyHeld(full))}
            connection.execute(sql["stop"], values)
        if values["channel"] is not None:
            connection.execute(_SQL["announce"], values, prepare=True)
    if full:
        raise TooManyHeld(full)
    return True


def _free(connection: Connection[Any], claim: Advancing, events: list[Any]) -> list[Any]:
    """Return the events whose streams are not held."""
    held = blocked_streams(connection, claim.projection.name, claim.version)
    return [event for event in events if event.stream not in held]


def halt(connection: Connection[Any], claim: Claim, batch: EventBatch, reason: str) -> None:
    """Stop the version where it is, until an operator resumes it, and say why."""
    connection.execute(_SQL["halt"], {**claim.values(batch), "reason": reason})


def go_on(connection: Connection[Any], claim: Claim, batch: EventBatch) -> None:
    """Let the version that was halted before a batch go on with it."""
    connection.execute(_SQL["go_on"], claim.values(batch))
