"""Dead letters: events that a version of a projection could not apply. Each holds the rest of its stream behind it.

A letter is written in the same transaction that moves the position past its event, so that no event is skipped without
one. Letters belong to a version: a rebuilt version meets the same events, and has letters of its own if they fail
again.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid4

import structlog
from psycopg import Connection
from psycopg.rows import TupleRow

from domain.journal.encoding import UnreadableEvent
from domain.journal.queries import Query, load
from domain.model.events import Recorded
from domain.model.times import Instant, instant
from domain.release import RELEASE
from projections.engine.live_version import Rows, read_rows
from projections.engine.poison import Full, Poison, PoisonFinder, UnreadablePoison, Write, describe
from projections.engine.projection import Projection, directed
from projections.errors import DeadLetterNotFound

MAX_HELD_STREAMS = 100
"""How many streams of a version may be held. If more fail, the fault is not in the events, and the projection halts."""

MAX_MESSAGE_CHARACTERS = 2_000

LetterState = Literal["open", "resolved", "discarded", "superseded"]

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class Closing(NamedTuple):
    """How a letter was closed. `by` is null if its version was replaced or dropped."""

    at: Instant
    by: str | None
    reason: str | None
    correlation_id: str | None
    followed_by: UUID | None


class DeadLetter(NamedTuple):
    """An event that a version of a projection could not apply, and why.

    `event_version`, `correlation_id` and `actor` are null if the stored event does not state them. `release` and
    `shape` are those of the code that failed last. While the letter is open, `held_events` counts the events that
    follow in its stream.
    """

    id: UUID
    projection: str
    projection_version: int
    shape: int
    state: LetterState
    stream: str
    stream_version: int
    position: int
    topic: str
    event_version: int | None
    correlation_id: str | None
    actor: str | None
    exception: str
    message: str
    release: str
    attempts: int
    first_failed_at: Instant
    last_failed_at: Instant
    held_events: int
    closing: Closing | None


def write_around(
    connection: Connection[Any],
    projection: Projection,
    version: int,
    events: Sequence[Recorded],
    unreadable: Sequence[tuple[int, UnreadableEvent]],
    attempts: int,
) -> Full | None:
    """Write a batch without the held streams and without poison events, and add letters for the poison events.

    If one more stream would be held than allowed, counted over all parts of the version, returns that as `Full`: all
    events before that one are written, and none from it on.
    """
    # Parts of a version in a rebuild are written at once, each in a transaction that locks only its own part. This lock
    # keeps other parts from adding to the count after it was taken.
    _SQL["lock_version"].run(connection, {"projection": projection.name, "version": version})
    held = blocked_streams(connection, projection.name, version)
    write = writer(connection, projection, version)
    isolation = PoisonFinder(connection.transaction, write, held, max(0, MAX_HELD_STREAMS - len(held)))
    full = None
    try:
        isolation.apply(_in_order(connection, events, unreadable))
    except Full as error:
        full = error
    for poison in isolation.poison:
        add_letter(connection, projection, version, poison, attempts)
    return full


def writer(connection: Connection[Any], projection: Projection, version: int) -> Write:
    """Return the function that writes events into the tables of a version."""
    queries = projection.queries(version)
    return lambda events: projection.project(connection, queries, events)


def blocked_streams(connection: Connection[Any], projection: str, version: int) -> set[str]:
    """Return the streams that are held behind open letters."""
    wanted = {"projection": projection, "version": version}
    return {stream for (stream,) in _SQL["held"].rows(connection, wanted)}


def add_letter(
    connection: Connection[Any],
    projection: Projection,
    version: int,
    poison: Poison,
    attempts: int,
    id: UUID | None = None,
) -> None:
    """Store a letter for a poison event. It must be the only open letter of its stream."""
    row = {
        "id": id or uuid4(),
        "projection": projection.name,
        "version": version,
        "shape": projection.shape,
        "position": poison.position,
        "attempts": attempts,
        **failure(poison.error),
    }
    _SQL["add"].run(connection, row)
    _log.error(
        "event became a dead letter",
        id=str(row["id"]),
        projection=projection.name,
        version=version,
        stream=poison.stream,
        position=poison.position,
        reason=row["message"],
    )


def failure(error: Exception) -> dict[str, str]:
    """Return a letter's description of an exception, with this release."""
    words = describe(error).replace("\0", "\N{REPLACEMENT CHARACTER}")
    return {
        "exception": type(error).__name__,
        "message": words[:MAX_MESSAGE_CHARACTERS],
        "release": RELEASE,
    }


def find_letter(connection: Connection[Any], id: UUID) -> DeadLetter:
    """Return a letter; raise `DeadLetterNotFound`."""
    found = _letters(connection, _SQL["find"], {"id": id})
    if not found:
        raise DeadLetterNotFound(f"There is no dead letter {id}.", dead_letter_id=str(id))
    return found[0]


def stream_of(connection: Connection[Any], id: UUID) -> str | None:
    """Return the stream of a letter, which never changes; None if there is no such letter."""
    row = _SQL["stream"].row(connection, {"id": id})
    return row[0] if row else None


def list_letters(
    connection: Connection[Any],
    *,
    projection: str | None = None,
    state: LetterState | None = None,
    after: tuple[Instant, UUID] | None = None,
    limit: int | None = None,
    descending: bool = False,
    granted: Sequence[str] | None = None,
    most_bytes: int | None = None,
) -> Rows[DeadLetter]:
    """Return up to `limit` letters after `after` (time and id), in the order of their first failure.

    `granted` are the ledgers whose events are included; None includes all. The page ends early with the letter that
    makes it larger than `most_bytes`, unless that is None.
    """
    time, id = after or (None, None)
    wanted: dict[str, Any] = {"projection": projection, "state": state, "after_time": time, "after_id": id}
    wanted |= {"granted": None if granted is None else list(granted), "limit": limit}
    query = directed(_SQL["list"], descending=descending)
    rows = read_rows(connection, query, wanted, most_bytes)
    return rows.read_as(map(_letter, rows))


def letters_about(
    connection: Connection[Any], streams: Sequence[str], positions: Sequence[int]
) -> list[DeadLetter]:
    """Return the letters of the events at these positions, and the open letters that hold one of these streams."""
    return _letters(connection, _SQL["about"], {"streams": list(streams), "positions": list(positions)})


def _letters(connection: Connection[Any], query: Query, wanted: dict[str, Any]) -> list[DeadLetter]:
    return [_letter(row) for row in query.rows(connection, wanted)]


def _letter(row: TupleRow) -> DeadLetter:
    *known, first_failed_at, last_failed_at, held_events = row[:19]
    closing = None if row[19] is None else Closing(instant(row[19]), *row[20:])
    return DeadLetter._make([*known, instant(first_failed_at), instant(last_failed_at), held_events, closing])


def _in_order(
    connection: Connection[Any],
    events: Sequence[Recorded],
    unreadable: Sequence[tuple[int, UnreadableEvent]],
) -> list[Recorded | UnreadablePoison]:
    if not unreadable:
        return list(events)
    errors = dict(unreadable)
    rows = _SQL["streams"].rows(connection, {"positions": list(errors)})
    placed = [UnreadablePoison(stream, position, errors[position]) for position, stream in rows]
    return sorted([*events, *placed], key=lambda event: event.position)
