"""Webhooks on a real journal, to real receivers: each event at least once, in the order of its key, on record."""

import json
import threading
from typing import Any

import pytest
from psycopg import Connection

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.encoding import encode_envelope, encode_event
from projections.outbox import queue
from projections.outbox.deliveries import deliveries_at
from projections.outbox.webhooks import rotate_secret
from tests.integration.webhooks.sending import assert_in_order, key_of, move
from tests.ledgers import CONTEXT, history, open_accounts
from tests.outboxes import QUICK, await_acknowledged, deliveries, publishing, register
from tests.projecting import await_head, cut, eventually
from tests.receiver import Received, Receiver, Reply, receiving

pytestmark = pytest.mark.integration


def test_an_event_is_told_as_a_signed_cloud_event(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    hook = register(connection, receiver.url)
    head = move(ledger)
    with publishing(database, QUICK._replace(public_url="https://ledger.example")):
        await_acknowledged(connection, hook.id, 3)
    recorded = history(database)[-1]
    told = next(of for of in receiver.received if of.position == head)
    body = told.verified(hook.secret)
    event = told.event()
    assert event.get_id() == told.id == f"main/{head}"
    assert event.get_source() == "https://ledger.example/v1/ledgers/main"
    assert event.get_type() == "transaction.posted"
    assert f"main/{event.get_subject()}" == event.get_extension("partitionkey") == recorded.stream
    assert event.get_time().isoformat(timespec="microseconds")[:26] == recorded.envelope.recorded_at[:26]
    assert int(event.get_extension("sequence")) == head and len(event.get_extension("sequence")) == 19
    assert event.get_extension("correlationid") == told.headers["correlation-id"] == CONTEXT.correlation_id
    assert event.get_extension("traceparent") == told.headers["traceparent"] == CONTEXT.traceparent
    assert body["data"] == {
        "position": head,
        "ledger": "main",
        "stream": recorded.stream,
        "version": 1,
        "type": "transaction.posted",
        "schema_version": type(recorded.event).class_version,
        "recorded_at": recorded.envelope.recorded_at,
        "actor": "tester",
        "correlation_id": CONTEXT.correlation_id,
        "causation_id": recorded.envelope.causation_id,
        "idempotency_key": recorded.envelope.idempotency_key,
        "payload": json.loads(encode_event(recorded.event, encode_envelope(recorded.envelope)))["data"],
    }
    assert told.headers["content-type"].startswith("application/cloudevents+json")


def test_it_is_told_of_what_it_subscribes_to_from_then_on(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    move(ledger)
    hook = register(connection, receiver.url, ledgers=["main"], types=["account.entries_posted"])
    other = register(connection, receiver.url, ledgers=["other"])
    open_accounts(ledger, "x", book="third")
    head = move(ledger)
    with publishing(database):
        await_acknowledged(connection, hook.id, 2)
        await_head(connection, "outbox")
    assert sorted(receiver.positions()) == [head - 2, head - 1]
    assert not deliveries(connection, other.id)


def test_each_event_arrives_in_the_order_of_its_key_whatever_the_receiver_does(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    """A receiver that refuses, cuts, answers late, redirects, and fails after it has taken the message."""
    late = threading.Event()

    def behave(received: Received, count: int) -> Reply:
        if count > 1:
            return Reply(200)
        match received.position % 7:
            case 0:
                return Reply(500)
            case 1:
                return Reply(None)
            case 2:
                return Reply(204, after=late)
            case 3:
                return Reply(302, {"Location": receiver.url})
            case _:
                return Reply(202)

    receiver.behave = behave
    hook = register(connection, receiver.url)
    after = ledger.head()
    head = move(ledger, 30) and move(ledger, 30, "b", "c")
    threading.Timer(3.0, late.set).start()
    with publishing(database, QUICK._replace(timeout_seconds=2.0)):
        found = await_acknowledged(connection, hook.id, head - after)
    for received in receiver.received:
        received.verified(hook.secret)
    assert set(receiver.positions()) == set(range(after + 1, head + 1))
    assert_in_order(receiver)
    for delivery in found:
        arrivals = receiver.positions().count(delivery.position)
        assert arrivals == len(delivery.attempts)
        *failed, last = delivery.attempts
        assert last.outcome == "acknowledged" and {of.outcome for of in failed} <= {"failed"}
        # After an attempt without an answer, the next one says that the receiver may already have the message.
        assert last.duplicated == any(of.status_code is None for of in failed)
        assert all(of.ended_at and of.duration_seconds is not None for of in delivery.attempts)
    assert {of.event_id for of in found} == set(receiver.ids())


def test_keys_that_fail_hold_up_no_others(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    mended = threading.Event()

    def behave(received: Received, count: int) -> Reply:
        fails = key_of(received) == "main/accounts/a" and not mended.is_set()
        return Reply(503 if fails else 204)

    receiver.behave = behave
    hook = register(connection, receiver.url, types=["account.entries_posted"])
    move(ledger, 5)
    with publishing(database):
        eventually(lambda: [of.state for of in deliveries(connection, hook.id)].count("acknowledged") == 5)
        waiting = [of for of in deliveries(connection, hook.id) if of.state != "acknowledged"]
        assert {of.partition_key for of in waiting} == {"main/accounts/a"}
        # Only the first of them was tried.
        assert {of.position for of in waiting if of.attempts} == {waiting[0].position}
        assert {of.next_attempt_at for of in waiting[1:]} == {None}
        mended.set()
        await_acknowledged(connection, hook.id, 10)
    assert_in_order(receiver)


def test_receivers_that_hang_keep_nothing_from_the_others(
    database: Database, ledger: LedgerApplication, connection: Connection[Any]
) -> None:
    never = threading.Event()
    with receiving() as hanging, receiving() as well:
        hanging.behave = lambda received, count: Reply(204, after=never)
        stuck = [register(connection, hanging.url) for _ in range(20)]
        hook = register(connection, well.url)
        open_accounts(ledger, *(f"u{n}" for n in range(20)))
        move(ledger, 10)
        with publishing(database, QUICK._replace(timeout_seconds=2.0)):
            await_acknowledged(connection, hook.id, 50)
            assert not any(of.state == "acknowledged" for of in deliveries(connection, stuck[0].id))
            never.set()


def test_a_request_that_is_stopped_midway_is_made_again_as_a_duplicate(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    answering = threading.Event()
    receiver.behave = lambda received, count: Reply(204, after=answering if count == 1 else None)
    hook = register(connection, receiver.url, types=["transaction.posted"])
    move(ledger)
    with publishing(database, QUICK._replace(timeout_seconds=30)):
        eventually(lambda: len(receiver.received) == 1)
        (delivery,) = deliveries(connection, hook.id)
        assert delivery.state == "sent" and delivery.attempts[0].ended_at is None
    (delivery,) = deliveries(connection, hook.id)
    assert delivery.state == "pending"
    assert delivery.attempts[0].reason == queue.INTERRUPTED
    with publishing(database):
        (delivery,) = await_acknowledged(connection, hook.id, 1)
    answering.set()
    first, second = delivery.attempts
    assert (first.outcome, first.duplicated) == ("failed", False)
    assert (second.outcome, second.duplicated) == ("acknowledged", True)
    assert receiver.ids() == [delivery.event_id] * 2


def test_both_secrets_sign_while_a_rotation_overlaps(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    hook = register(connection, receiver.url, types=["transaction.posted"])
    second = rotate_secret(connection, hook.id, 3600)
    assert second is not None
    with publishing(database):
        move(ledger)
        await_acknowledged(connection, hook.id, 1)
        third = rotate_secret(connection, hook.id, 0)
        assert third is not None
        move(ledger)
        await_acknowledged(connection, hook.id, 2)
    first, last = receiver.received
    for secret in (hook.secret, second):
        first.verified(secret)
    last.verified(third)
    assert len(first.headers["webhook-signature"].split()) == 2
    assert len(last.headers["webhook-signature"].split()) == 1


def test_an_event_leads_to_its_deliveries(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    hooks = [register(connection, receiver.url, types=["transaction.posted"]) for _ in range(2)]
    move(ledger)
    with publishing(database):
        for hook in hooks:
            await_acknowledged(connection, hook.id, 1)
    found = deliveries_at(connection, range(1, ledger.head() + 1))
    assert {of.webhook_id for of in found} == {hook.id for hook in hooks}
    assert {of.position for of in found} == {ledger.head()}
    assert deliveries_at(connection, [ledger.head() - 1]) == []


def test_a_receiver_is_obeyed_that_asks_for_time(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    receiver.behave = lambda received, count: Reply(429, {"Retry-After": "3600"})
    hook = register(connection, receiver.url, types=["transaction.posted"])
    move(ledger)
    with publishing(database):
        await_head(connection, "outbox")
        eventually(lambda: any(of.status_code for of in deliveries(connection, hook.id)[0].attempts))
    (delivery,) = deliveries(connection, hook.id)
    (attempt,) = delivery.attempts
    assert attempt.ended_at is not None and delivery.next_attempt_at is not None
    assert delivery.next_attempt_at[:13] > attempt.ended_at[:13]


def test_a_long_answer_is_not_read_to_its_end(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    receiver.behave = lambda received, count: Reply(200, body=b"x" * 50_000_000)
    hook = register(connection, receiver.url)
    move(ledger)
    with publishing(database):
        found = await_acknowledged(connection, hook.id, 3)
    assert {len(of.attempts) for of in found} == {1}


def test_another_publisher_takes_over(
    database: Database,
    ledger: LedgerApplication,
    receiver: Receiver,
    connection: Connection[Any],
    owner: Connection[Any],
) -> None:
    hook = register(connection, receiver.url, types=["transaction.posted"])
    with publishing(database), publishing(database):
        for count in range(1, 4):
            move(ledger)
            await_acknowledged(connection, hook.id, count)
            cut(owner, "tallystick publisher")
    assert len(set(receiver.ids())) == 3
