"""The work that the ledger itself still has to do: carry out accepted requests, and release holds that expire."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.database import Database
from domain.model.events import Recorded
from domain.model.streams import ledger_of, name_of
from domain.model.times import Instant, instant
from domain.model.transactions import (
    Expired,
    Settled,
    TransactionAccepted,
    TransactionHeld,
    TransactionPosted,
    TransactionRejected,
    Voided,
)
from projections.engine.live_version import Reading, read_live
from projections.engine.projection import Projection, Queries


class DueTransaction(NamedTuple):
    """A transaction with work due at a time. `position` is the position of the event that made it due."""

    ledger: str
    id: str
    due_at: Instant
    position: int


def due_channel(database: Database) -> str:
    """Return the channel that announces new due work, due now or later."""
    return f"{database.schema}_due"


def list_due(
    connection: Connection[Any], now: Instant, limit: int, excluding: Collection[str] = ()
) -> Reading[list[DueTransaction]]:
    """Return up to `limit` transactions that are due by `now`, longest due first, without the ids in `excluding`."""
    wanted = {"now": now, "limit": limit, "excluding": list(excluding)}

    def read(cursor: Any, version: int) -> list[DueTransaction]:
        rows = PROJECTION.queries(version)["list"].rows(cursor, wanted)
        return [
            DueTransaction(ledger, str(id), instant(due_at), position)
            for ledger, id, due_at, position in rows
        ]

    return read_live(connection, PROJECTION, read)


def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Add the work that events make due, and remove the work that they complete."""
    last = {recorded.stream: recorded for recorded in events}
    due = {stream: due_at for stream, recorded in last.items() if (due_at := _due_at(recorded))}
    _execute(connection, queries["remove"], {stream: last[stream] for stream in last.keys() - due.keys()}, {})
    _execute(connection, queries["keep"], {stream: last[stream] for stream in due}, due)
    if due:
        queries["announce"].run(connection)


def _due_at(recorded: Recorded) -> Instant | None:
    """Return when work is due after an event, or None if there is none."""
    match recorded.event:
        case TransactionAccepted():
            return recorded.envelope.recorded_at
        case TransactionHeld(expires_at=expires_at):
            return expires_at
    return None


def _execute(
    connection: Connection[Any], query: str, recorded: Mapping[str, Recorded], due: Mapping[str, Instant]
) -> None:
    if recorded:
        columns = {
            "ledgers": [ledger_of(stream) for stream in recorded],
            "ids": [name_of(stream) for stream in recorded],
            "due_at": list(due.values()),
            "positions": [event.position for event in recorded.values()],
        }
        connection.execute(query, columns)


PROJECTION = Projection(
    "due",
    __name__,
    (TransactionAccepted, TransactionHeld, Settled, Voided, Expired),
    ("due",),
    project,
    # An event that is not the first of its stream carries out, or refuses, a request that was accepted before.
    non_initial_events=(TransactionPosted, TransactionRejected),
    by_stream=True,
)
