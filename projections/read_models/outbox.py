"""Which events are owed to which webhook: a projection whose rows are counts, and whose effects are deliveries.

A delivery is made once, by the version that first finds it owed, and its row is never deleted. A rebuild finds them all
made: it sends nothing, and counts what it did not send in `outbox_suppressions`.

Events are taken as they are stored, those of types that this release does not know among them: who subscribes to all is
told of all, and a consumer may know what we do not. What belongs to no ledger, such as a key that was made, is told
to no webhook: even those of every ledger are about ledgers, and their receivers need not know who may call.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder
from psycopg import Connection
from psycopg.rows import tuple_row

from domain.journal.database import Database
from domain.journal.reader import Row
from domain.model.streams import INSTALLATION, ledger_of
from projections.engine.projection import Projection, Queries

EVERY = "*"
"""Every ledger, or every type of event, of a subscription."""


class Subscriber(NamedTuple):
    """What a webhook has subscribed to: events after a position and, once it is deleted, up to another."""

    id: UUID
    ledgers: frozenset[str]
    types: frozenset[str]
    after: int
    upto: int | None

    def is_owed(self, position: int, ledger: str, topic: str) -> bool:
        """Tell whether it is to be told of an event."""
        return (
            position > self.after
            and (self.upto is None or position <= self.upto)
            and (ledger in self.ledgers or EVERY in self.ledgers)
            and (topic in self.types or EVERY in self.types)
        )


def outbox_channel(database: Database) -> str:
    """Return the channel on which it is announced that deliveries became due."""
    return f"{database.schema}_outbox"


def partition_key(stream: str) -> str:
    """Return the key within which deliveries are in order: the stream, and so the account or transaction concerned.

    Whoever follows balances reads the events of accounts, of which each has one stream, where versions rise by one.
    """
    return stream


def project(connection: Connection[Any], queries: Queries, rows: Sequence[Row]) -> None:
    """Count what is owed by events, and make the deliveries that are not made yet."""
    connection.execute(queries["lock"])
    cursor = connection.cursor(row_factory=tuple_row)
    found = cursor.execute(queries["subscribers"], {"first": rows[0][4]}).fetchall()
    subscribers = [
        Subscriber(id, frozenset(ledgers), frozenset(types), after, upto)
        for id, ledgers, types, after, upto in found
    ]
    owed = list(_owed(subscribers, rows))
    if owed:
        columns = {
            "webhooks": [id for id, _ in owed],
            "positions": [position for _, (*_, position) in owed],
            "keys": [partition_key(stream) for _, (stream, *_) in owed],
            "correlation_ids": [correlation_id_of(state) for _, (_, _, _, state, _) in owed],
        }
        connection.execute(queries["by_keys"])
        connection.execute(queries["owe"], columns)


def _owed(subscribers: Sequence[Subscriber], rows: Sequence[Row]) -> Iterator[tuple[UUID, Row]]:
    for row in rows:
        stream, _, topic, _, position = row
        if ledger_of(stream) == INSTALLATION:
            continue
        for subscriber in subscribers:
            if subscriber.is_owed(position, ledger_of(stream), topic):
                yield subscriber.id, row


class _Conversation(Struct):
    """Of a stored event the one member that is kept with its deliveries."""

    correlation_id: str


_decoder = Decoder(_Conversation)


def correlation_id_of(state: bytes) -> str:
    """Return the correlation id of a stored event, of whatever release; "" if it has none that can be read.

    Such an event is owed all the same. Telling it will fail, which is on record for each webhook.
    """
    try:
        return _decoder.decode(state).correlation_id.replace("\0", "")
    except (MsgspecError, UnicodeDecodeError):
        return ""


# Shape 1 told subscribers to every ledger of what belongs to none as well.
PROJECTION = Projection("outbox", __name__, (), ("outbox",), project, all_events=True, shape=2)
