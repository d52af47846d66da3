"""What tests of the outbox do: run a publisher, register webhooks, read the state of deliveries."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from domain.journal.database import Database
from projections.outbox.deliveries import Delivery, list_deliveries
from projections.outbox.destinations import Policy
from projections.outbox.publisher import run_publisher
from projections.outbox.publishing import Publishing
from projections.outbox.webhooks import Registration, register_webhook
from tests.projecting import PATIENCE_SECONDS, eventually

ANYWHERE = Policy(allow_private=True, allow_http=True)
QUICK = Publishing(ANYWHERE, timeout_seconds=5.0, first_wait_seconds=0.02)
"""Attempts are repeated soon: the longest wait is a minute."""


class Hook(NamedTuple):
    """A registered webhook and its secret."""

    id: UUID
    secret: str


@contextmanager
def publishing(database: Database, options: Publishing = QUICK) -> Iterator[None]:
    """A publisher that runs meanwhile, as a process of the service would run it."""
    stop = threading.Event()
    thread = threading.Thread(target=run_publisher, args=(database, stop, options))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def register(
    connection: Connection[Any], url: str, ledgers: Sequence[str] = ("*",), types: Sequence[str] = ("*",)
) -> Hook:
    """Register a webhook."""
    webhook, secret = register_webhook(connection, Registration(url, ledgers, types, "", "tester"))
    return Hook(webhook.id, secret)


def deliveries(connection: Connection[Any], id: UUID) -> list[Delivery]:
    """The deliveries to a webhook."""
    return list_deliveries(connection, id, None, None, 100_000, descending=False)


def await_states(
    connection: Connection[Any], id: UUID, *states: str, count: int | None = None
) -> list[Delivery]:
    """Wait until all deliveries are in these states, and until there are this many if a number is given."""

    def is_so() -> bool:
        found = deliveries(connection, id)
        return (count is None or len(found) == count) and {of.state for of in found} == set(states)

    eventually(is_so)
    return deliveries(connection, id)


def await_acknowledged(connection: Connection[Any], id: UUID, count: int | None = None) -> list[Delivery]:
    """Wait until all deliveries are acknowledged."""
    return await_states(connection, id, "acknowledged", count=count)
