"""What tests of webhooks do: move money, and read what arrived and what became of it."""

from typing import Any

from psycopg import Connection

from domain.application import LedgerApplication
from projections.outbox.webhooks import find_webhook
from tests.ledgers import outcomes, transfer
from tests.outboxes import deliveries
from tests.receiver import Received, Receiver


def move(ledger: LedgerApplication, count: int = 1, debited: str = "a", credited: str = "b") -> int:
    """Move money this many times. Return the newest position. Each move makes three events: two of accounts, one
    posting.
    """
    results = ledger.execute(*(transfer(debited, credited, 1) for _ in range(count))).result()
    return max(outcome.position for outcome in outcomes(results))


def key_of(received: Received) -> str:
    key: str = received.event().get_extension("partitionkey")
    return key


def assert_in_order(receiver: Receiver) -> None:
    """Assert that the first arrivals of the events of each key are in the order of positions."""
    seen: set[str] = set()
    last: dict[str, int] = {}
    for received in receiver.received:
        if received.id not in seen:
            seen.add(received.id)
            assert last.get(key_of(received), 0) < received.position
            last[key_of(received)] = received.position


def webhook(connection: Connection[Any], id: Any) -> Any:
    found = find_webhook(connection, id)
    assert found is not None
    return found


def state(connection: Connection[Any], id: Any, position: int) -> Any:
    return next(of for of in deliveries(connection, id) if of.position == position)
