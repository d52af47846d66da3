"""Deliveries that stop: receivers that are gone or fail, deliveries given up, webhooks disabled, paused or deleted."""

import threading
from typing import Any

import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from domain.application import LedgerApplication
from domain.journal.database import Database
from projections.outbox import queue
from projections.outbox.deliveries import discard_delivery, retry_delivery
from projections.outbox.publishing import Publishing
from projections.outbox.webhooks import delete_webhook, disable_webhook, enable_webhook, find_webhook
from tests.integration.webhooks.sending import assert_in_order, move, state, webhook
from tests.outboxes import ANYWHERE, QUICK, await_acknowledged, await_states, deliveries, publishing, register
from tests.projecting import await_head, eventually, set_state
from tests.receiver import Receiver, Reply, receiving

pytestmark = pytest.mark.integration


def test_a_receiver_that_is_gone_is_disabled_until_it_is_enabled(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    back = threading.Event()
    receiver.behave = lambda received, count: Reply(200 if back.is_set() else 410)
    hook = register(connection, receiver.url, types=["account.entries_posted"])
    move(ledger, 3)
    with publishing(database):
        eventually(lambda: webhook(connection, hook.id).state == "disabled")
        assert webhook(connection, hook.id).disabled_reason == queue.GONE
        move(ledger)
        await_head(connection, "outbox")
        assert len(deliveries(connection, hook.id)) == 8
        back.set()
        enabled = enable_webhook(connection, hook.id)
        assert enabled is not None and (enabled.state, enabled.disabled_reason) == ("enabled", None)
        await_acknowledged(connection, hook.id, 8)
    assert_in_order(receiver)


def test_a_receiver_that_fails_for_too_long_is_disabled(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    receiver.behave = lambda received, count: Reply(500)
    hook = register(connection, receiver.url, types=["transaction.posted"])
    move(ledger, 2)
    with publishing(database, QUICK._replace(disable_after_seconds=0.5)):
        eventually(lambda: webhook(connection, hook.id).state == "disabled")
    found = webhook(connection, hook.id)
    assert found.failing_since is not None and "nothing was acknowledged" in found.disabled_reason


def test_what_becomes_of_a_receiver_is_said_once_each(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    broken = threading.Event()
    broken.set()
    receiver.behave = lambda received, count: Reply(500 if broken.is_set() else 200)
    hook = register(connection, receiver.url, types=["transaction.posted"])
    move(ledger, 5)
    with capture_logs() as logs, publishing(database):
        eventually(lambda: len(receiver.received) >= 10)
        broken.clear()
        await_acknowledged(connection, hook.id, 5)
        disable_webhook(connection, hook.id, "for a while")
        enable_webhook(connection, hook.id)
        enable_webhook(connection, hook.id)
        delete_webhook(connection, hook.id, "tester")
    said = [line for line in logs if line["event"].startswith("webhook")]
    assert [line["event"] for line in said] == [
        "webhook is failing",
        "webhook is well again",
        "webhook disabled",
        "webhook enabled",
        "webhook deleted",
    ]
    assert {line["webhook_id"] for line in said} == {str(hook.id)}
    assert said[0]["reason"] == "answered 500"


def test_a_receiver_that_is_gone_is_disabled_whatever_else_it_says(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    receiver.behave = lambda received, count: Reply(410, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359"})
    hook = register(connection, receiver.url, types=["transaction.posted"])
    move(ledger)
    with publishing(database):
        eventually(lambda: webhook(connection, hook.id).state == "disabled")
    (delivery,) = deliveries(connection, hook.id)
    assert [attempt.status_code for attempt in delivery.attempts] == [410]


def test_what_is_given_up_holds_its_key_until_an_operator_decides(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    refused: set[int] = set()
    receiver.behave = lambda received, count: Reply(400 if received.position in refused else 200)
    hook = register(connection, receiver.url, types=["account.entries_posted"])
    head = move(ledger, 3)
    await_head(connection, "outbox")
    first, second, third = (of.position for of in deliveries(connection, hook.id)[::2])
    refused |= {first, second}
    with publishing(database, Publishing(ANYWHERE, first_wait_seconds=1e-6)):
        await_states(connection, hook.id, "acknowledged", "failed", "pending", count=6)
        eventually(lambda: len(state(connection, hook.id, first).attempts) == 10)
        eventually(lambda: state(connection, hook.id, first).state == "failed")
        assert state(connection, hook.id, second).attempts == ()
        given_up = discard_delivery(connection, hook.id, first, "cannot be read there")
        assert given_up is not None and given_up.state == "suppressed"
        assert given_up.reason == given_up.attempts[-1].reason == "cannot be read there"
        eventually(lambda: state(connection, hook.id, second).state == "failed")
        assert state(connection, hook.id, third).state == "pending"
        refused.clear()
        retry_delivery(connection, hook.id, second)
        eventually(lambda: state(connection, hook.id, third).state == "acknowledged")
        again = retry_delivery(connection, hook.id, third)
        assert again is not None
        eventually(lambda: state(connection, hook.id, third).state == "acknowledged")
    last = state(connection, hook.id, third)
    assert [of.duplicated for of in last.attempts] == [False, True]
    assert receiver.positions().count(third) == 2 and third <= head


def test_nothing_is_sent_while_the_outbox_is_paused_or_the_webhook_disabled(
    database: Database,
    ledger: LedgerApplication,
    receiver: Receiver,
    connection: Connection[Any],
    owner: Connection[Any],
) -> None:
    hook = register(connection, receiver.url, types=["transaction.posted"])
    move(ledger, 3)
    await_head(connection, "outbox")
    set_state(owner, "outbox", "paused")
    with receiving() as witness, publishing(database):
        move(ledger)
        # If the publisher had sent anything, it would have done so before it takes up another delivery.
        set_state(owner, "outbox", "running")
        await_acknowledged(connection, hook.id, 4)
        disable_webhook(connection, hook.id, "moving house")
        assert webhook(connection, hook.id).disabled_reason == "moving house"
        other = register(connection, witness.url, types=["transaction.posted"])
        move(ledger)
        await_acknowledged(connection, other.id, 1)
        assert len(receiver.received) == 4
        enable_webhook(connection, hook.id)
        await_acknowledged(connection, hook.id, 5)


def test_a_paused_outbox_attempts_nothing(
    database: Database,
    ledger: LedgerApplication,
    receiver: Receiver,
    connection: Connection[Any],
    owner: Connection[Any],
) -> None:
    hook = register(connection, receiver.url)
    move(ledger, 3)
    await_head(connection, "outbox")
    set_state(owner, "outbox", "paused")
    assert queue.take_turn(connection, [], {}, 1.0) == []
    set_state(owner, "outbox", "running")
    assert len(queue.take_turn(connection, [], {}, 1.0)) == 5  # of two accounts and three transactions
    assert {of.state for of in deliveries(connection, hook.id)} >= {"sent"}


def test_deletion_amid_deliveries_suppresses_what_waits(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    answering = threading.Event()
    receiver.behave = lambda received, count: Reply(200, after=answering)
    hook = register(connection, receiver.url)
    move(ledger, 10)
    with publishing(database):
        eventually(lambda: len(receiver.received) >= 3)
        assert delete_webhook(connection, hook.id, "operator")
        assert delete_webhook(connection, hook.id, "operator")
        answering.set()
        eventually(lambda: not any(of.state == "sent" for of in deliveries(connection, hook.id)))
        move(ledger)
        await_head(connection, "outbox")
        other = register(connection, receiver.url, types=["transaction.posted"])
        move(ledger)
        await_acknowledged(connection, other.id, 1)
    assert find_webhook(connection, hook.id) is None
    found = deliveries(connection, hook.id)
    assert len(found) == 30
    for delivery in found:
        assert delivery.state == (
            "acknowledged" if delivery.position in receiver.positions() else "suppressed"
        )
    suppressed = [of for of in found if of.state == "suppressed"]
    assert suppressed and {of.attempts[-1].outcome for of in suppressed} == {"suppressed"}
