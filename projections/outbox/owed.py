"""Which events are owed to which webhook: a projection whose rows are counts, and whose effects are deliveries.

A delivery is made once, by the version that first finds it owed, and its row is never deleted. A rebuild finds them all
made: it sends nothing, and counts what it did not send in `outbox_suppressions`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import tuple_row

from domain.addresses import ledger_of
from domain.aggregates import EVENT_TYPES
from domain.events import Recorded
from domain.journal.database import Database
from projections.projection import Projection, Queries

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


def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Count what is owed by events, and make the deliveries that are not made yet."""
    connection.execute(queries["lock"])
    cursor = connection.cursor(row_factory=tuple_row)
    rows = cursor.execute(queries["subscribers"], {"first": events[0].position}).fetchall()
    subscribers = [
        Subscriber(id, frozenset(ledgers), frozenset(types), after, upto)
        for id, ledgers, types, after, upto in rows
    ]
    owed = list(_owed(subscribers, events))
    if owed:
        columns = {
            "webhooks": [id for id, _ in owed],
            "positions": [recorded.position for _, recorded in owed],
            "keys": [partition_key(recorded.stream) for _, recorded in owed],
            "correlation_ids": [recorded.envelope.correlation_id for _, recorded in owed],
        }
        connection.execute(queries["by_keys"])
        connection.execute(queries["owe"], columns)


def _owed(subscribers: Sequence[Subscriber], events: Sequence[Recorded]) -> Iterator[tuple[UUID, Recorded]]:
    for recorded in events:
        for subscriber in subscribers:
            if subscriber.is_owed(recorded.position, ledger_of(recorded.stream), recorded.event.TOPIC):
                yield subscriber.id, recorded


PROJECTION = Projection("outbox", tuple(EVENT_TYPES.values()), ("outbox",), project, every_topic=True)
