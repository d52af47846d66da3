"""The logs that this installation witnesses: what its journal says of each, and how the last look at each went."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.encoding import decode
from domain.journal.queries import load
from domain.journal.reader import Row
from domain.journal.recording import recording
from domain.model.events import Context, Event
from domain.model.installation.checkpoints import WitnessedLog
from domain.model.registry import evolve
from domain.model.streams import witnessed_stream
from domain.model.times import Instant, instant
from projections.audit.stored import Stored, parsed
from projections.engine.projection import directed
from projections.errors import WitnessedLogNotFound

MAX_REASON_LENGTH = 500

MAX_RECORDS_PASSED = 10_000
"""Far more than the records of witnessing by which a log may grow before it is witnessed again."""

_SQL = load(__name__)


class Look(NamedTuple):
    """The last look at a log: when its newest checkpoint was found to follow, and of how many events it was.

    `is_watched` says whether it is looked at from time to time. `unseen_seconds` is the time since the last look that
    succeeded, or since the log was first looked at. `last_error` says why the last look failed, None if it did not.
    """

    name: str
    is_watched: bool
    seen_at: Instant | None
    seen_size: int | None
    last_error: str | None
    unseen_seconds: float


def watch(connection: Connection[Any], *names: str) -> None:
    """Note the names of the logs that are looked at from now on, and that no others are. Idempotent."""
    _SQL["watch"].run(connection, {"names": list(names)})
    _SQL["leave_others"].run(connection, {"names": list(names)})


def leave(connection: Connection[Any], name: str) -> bool:
    """Note that nobody looks at a log any more; tell whether it is known. What was recorded of it stays."""
    return _SQL["leave"].row(connection, {"name": name}) is not None


def read_logs(connection: Connection[Any], *names: str) -> dict[str, WitnessedLog]:
    """Return what was last recorded of each log, or of the named ones, by name. What was never recorded is left out.

    Raises `UnreadableEvent` if a newer release recorded it.
    """
    rows = _SQL["newest"].rows(connection, {"names": list(names) or None})
    return {log.name: log for log in (evolve(None, decode(*row)) for row in rows)}


def read_looks(connection: Connection[Any]) -> list[Look]:
    """Return how the last look at each log went, by name."""
    return _SQL["looks"].rows(connection, into=_look)


def _look(
    name: str,
    is_watched: bool,
    seen_at: datetime | None,
    seen_size: int | None,
    last_error: str | None,
    unseen_seconds: float,
) -> Look:
    return Look(
        name, is_watched, None if seen_at is None else instant(seen_at), seen_size, last_error, unseen_seconds
    )


def saw(connection: Connection[Any], name: str, size: int) -> None:
    """Note that the newest checkpoint of a log follows what was witnessed, or is the same."""
    _SQL["seen"].run(connection, {"name": name, "size": size})


def failed(connection: Connection[Any], name: str, reason: str) -> None:
    """Note why a look at a log failed."""
    text = reason.replace("\0", "")[:MAX_REASON_LENGTH]
    _SQL["failed"].run(connection, {"name": name, "reason": text})


def record(
    connection: Connection[Any],
    name: str,
    before: WitnessedLog | None,
    event_at: Callable[[datetime], Event],
    by: Context,
) -> bool:
    """Record an event of a log in its stream. Return false, and record nothing, if another came since `before`.

    `event_at` returns the event, given the time by the database's clock. Raises `JournalUnavailable` if another writer
    holds the lock for too long.
    """
    with recording(connection) as recorder:
        present = read_logs(connection, name).get(name)
        if (present and present.version) != (before and before.version):
            return False
        recorder.record([(witnessed_stream(name), event_at(recorder.now))], by)
    return True


def own_size(connection: Connection[Any]) -> int:
    """Return the newest position of an event other than a record of witnessing, 0 if there is none.

    If the newest `MAX_RECORDS_PASSED` events are such records, it is the position before them.
    """
    (position,) = _SQL["own_size"].only(connection, {"looked_at": MAX_RECORDS_PASSED})
    return int(position)


def read_events(
    connection: Connection[Any], name: str, after: int | None, limit: int, *, descending: bool = False
) -> list[Row]:
    """Return up to `limit` events of a log in the order of their versions, after a version.

    Raises `WitnessedLogNotFound`.
    """
    query = directed(_SQL["events"], descending=descending)
    rows = query.rows(connection, {"name": name, "after": after, "limit": limit}, prepare=False)
    if not rows:
        raise WitnessedLogNotFound
    return [row for row in rows if row[0] is not None]


def history(connection: Connection[Any]) -> Iterator[Stored]:
    """Yield every event of every log, one log after another."""
    for row in _SQL["history"].rows(connection):
        yield parsed(*row)
