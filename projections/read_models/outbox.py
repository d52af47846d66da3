"""Which events are owed to which webhook: a projection whose rows are counts, and whose effects are deliveries.

The version that first finds a delivery owed makes it, once, and its row is never deleted. A rebuild finds all
deliveries made: it sends nothing, and counts in `outbox_suppressions` what it did not send (projections/README.md,
Outbox).

Events are taken as they are stored, including types that this release does not know: a webhook that subscribed to all
types gets all, and its receiver may know types that we do not. Events that belong to no ledger, such as a key that was
made, go to no webhook: even a webhook for every ledger is about ledgers, and its receiver need not know who may call
the API.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder
from psycopg import Connection

from domain.journal.arrays import bigint_array
from domain.journal.database import Database
from domain.journal.reader import Row
from domain.journal.statements import statements_of
from domain.model.streams import INSTALLATION, ledger_of
from projections.engine.projection import Projection, Queries

EVERY = "*"
"""In a subscription: every ledger, or every type of event."""


class Subscriber(NamedTuple):
    """A webhook's subscription: to events after a position and, once it is deleted, up to another."""

    id: UUID
    ledgers: frozenset[str]
    types: frozenset[str]
    after: int
    upto: int | None

    def is_owed(self, position: int, ledger: str, topic: str) -> bool:
        """Tell whether an event is to be delivered to it."""
        return (
            position > self.after
            and (self.upto is None or position <= self.upto)
            and (ledger in self.ledgers or EVERY in self.ledgers)
            and (topic in self.types or EVERY in self.types)
        )


def outbox_channel(database: Database) -> str:
    """Return the channel that announces new due deliveries."""
    return f"{database.schema}_outbox"


def partition_key(stream: str) -> str:
    """Return the key within which deliveries are in order: the stream, and so the account or transaction concerned.

    To follow balances, a receiver reads the events of accounts. Each account has one stream, whose versions rise by
    one.
    """
    return stream


def project(connection: Connection[Any], queries: Queries, rows: Sequence[Row]) -> None:
    """Count the events that are owed, and make the deliveries that do not exist yet."""
    first = {"first": rows[0][4]}
    _, found = statements_of(connection).ask_together((queries["lock"], {}), (queries["subscribers"], first))
    subscribers = [
        Subscriber(id, frozenset(ledgers), frozenset(types), after, upto)
        for id, ledgers, types, after, upto in found
    ]
    owed = list(_owed(subscribers, rows))
    if owed:
        # Copies are owed where they were recorded, to the webhooks there.
        positions = bigint_array([position for _, (*_, position) in owed])
        copies = {position for (position,) in queries["copies"].rows(connection, {"positions": positions})}
        owed = [(id, row) for id, row in owed if row[4] not in copies]
    if owed:
        columns = {
            "webhooks": [id for id, _ in owed],
            "positions": [position for _, (*_, position) in owed],
            "keys": [partition_key(stream) for _, (stream, *_) in owed],
            "correlation_ids": [correlation_id_of(state) for _, (_, _, _, state, _) in owed],
        }
        queries["by_keys"].run(connection)
        queries["owe"].run(connection, columns)


def _owed(subscribers: Sequence[Subscriber], rows: Sequence[Row]) -> Iterator[tuple[UUID, Row]]:
    if not subscribers:
        return
    for row in rows:
        stream, _, topic, _, position = row
        ledger = ledger_of(stream)
        if ledger == INSTALLATION:
            continue
        for subscriber in subscribers:
            if subscriber.is_owed(position, ledger, topic):
                yield subscriber.id, row


class _Conversation(Struct):
    """The one member of a stored event that is kept with its deliveries."""

    correlation_id: str


_decoder = Decoder(_Conversation)


def correlation_id_of(state: bytes) -> str:
    """Return the correlation id of a stored event of any release, or "" if none can be read.

    Such an event is owed all the same. Its delivery will fail, and that failure is recorded for each webhook.
    """
    try:
        return _decoder.decode(state).correlation_id.replace("\0", "")
    except (MsgspecError, UnicodeDecodeError):
        return ""


# Shape 1 also delivered events that belong to no ledger, to webhooks of every ledger.
PROJECTION = Projection("outbox", __name__, (), ("outbox",), project, all_events=True, shape=2)
