"""Webhooks on a real journal, to real receivers: each event at least once, in the order of its key, on record."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.encoding import encode_envelope, encode_event
from projections.engine.batches import read_batch
from projections.outbox import queue
from projections.outbox.deliveries import deliveries_at, discard_delivery, retry_delivery
from projections.outbox.publishing import Publishing
from projections.outbox.webhooks import (
    delete_webhook,
    disable_webhook,
    enable_webhook,
    find_webhook,
    rotate_secret,
)
from projections.read_models.outbox import PROJECTION
from projections.rebuilding.rebuilder import rebuild
from projections.registry import add_version
from tests.ledgers import CONTEXT, history, open_accounts, outcomes, running, transfer
from tests.outboxes import ANYWHERE, QUICK, await_acknowledged, await_states, deliveries, publishing, register
from tests.projecting import append, await_head, cut, eventually, projecting, set_state
from tests.receiver import Received, Receiver, Reply, receiving

pytestmark = pytest.mark.integration


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerApplication]:
    """A ledger with three accounts, while the outbox is projected."""
    with projecting(database, [PROJECTION]), running(database) as ledger:
        open_accounts(ledger, "a", "b", "c")
        yield ledger


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def connection(database: Database) -> Iterator[Connection[Any]]:
    with database.connect("test") as connection:
        yield connection


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
    threading.Timer(1.0, late.set).start()
    with publishing(database, QUICK._replace(timeout_seconds=0.5)):
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
        doubtful = delivery.position % 7 in (1, 2)
        assert last.duplicated == (doubtful and bool(failed))
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


def webhook(connection: Connection[Any], id: Any) -> Any:
    found = find_webhook(connection, id)
    assert found is not None
    return found


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


def state(connection: Connection[Any], id: Any, position: int) -> Any:
    return next(of for of in deliveries(connection, id) if of.position == position)


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


def test_a_rebuild_sends_nothing_and_says_how_much_it_did_not_send(
    database: Database, ledger: LedgerApplication, receiver: Receiver, connection: Connection[Any]
) -> None:
    gone = register(connection, receiver.url, types=["transaction.posted"])
    hook = register(connection, receiver.url)
    move(ledger, 4)
    with publishing(database):
        await_acknowledged(connection, hook.id, 12)
        delete_webhook(connection, gone.id, "operator")
        before = deliveries(connection, hook.id)
        outcome = rebuild(database, "outbox")
        assert outcome.switched and outcome.equal
        assert webhook(connection, hook.id).suppressed == 12
        move(ledger)
        await_acknowledged(connection, hook.id, 15)
    assert deliveries(connection, hook.id)[:12] == before
    assert sorted(receiver.positions()) == sorted(
        [of.position for of in deliveries(connection, hook.id)] + [of.position for of in before[2::3]]
    )


def test_tables_of_another_shape_send_nothing_again(
    database: Database,
    ledger: LedgerApplication,
    receiver: Receiver,
    connection: Connection[Any],
    owner: Connection[Any],
) -> None:
    hook = register(connection, receiver.url)
    move(ledger, 4)
    with publishing(database):
        await_acknowledged(connection, hook.id, 12)
        # As in a release whose tables have another shape: its live version begins at position 0.
        owner.execute("TRUNCATE outbox_v1")
        owner.execute("UPDATE projection_versions SET position = 0, runner = NULL WHERE name = 'outbox'")
        await_head(connection, "outbox")
        move(ledger)
        await_acknowledged(connection, hook.id, 15)
    assert len(receiver.received) == 15


def test_the_version_that_first_finds_an_event_owed_makes_the_delivery(
    database: Database, ledger: LedgerApplication, connection: Connection[Any], owner: Connection[Any]
) -> None:
    """Also a version still being filled, such as a new release's while the old one has already stopped."""
    move(ledger)
    head = await_head(connection, "outbox")
    set_state(owner, "outbox", "paused")
    hook = register(connection, "http://127.0.0.1:9/")
    moved = move(ledger)
    add_version(connection, PROJECTION, 2, "rebuilding")
    batch = read_batch(connection, PROJECTION, 0, moved)
    with connection.transaction():
        PROJECTION.project(connection, PROJECTION.queries(2), batch.events)
    made = deliveries(connection, hook.id)
    assert [of.position for of in made] == list(range(head + 1, moved + 1))
    assert webhook(connection, hook.id).suppressed == 0
    set_state(owner, "outbox", "running")
    await_head(connection, "outbox")
    assert deliveries(connection, hook.id) == made
    assert webhook(connection, hook.id).suppressed == 3


def test_an_event_of_a_newer_release_is_told_as_it_is(
    database: Database,
    ledger: LedgerApplication,
    receiver: Receiver,
    connection: Connection[Any],
    owner: Connection[Any],
) -> None:
    hook = register(connection, receiver.url)
    stored = encode_envelope(history(database)[-1].envelope) + b'{"name":"new"}}'
    position = append(owner, "other/ledger", 1, "ledger.renamed", b'{"class_version":7,' + stored)
    with publishing(database):
        await_acknowledged(connection, hook.id, 1)
    (told,) = receiver.received
    assert told.event().get_type() == "ledger.renamed" and told.position == position
    assert told.verified(hook.secret)["data"]["payload"] == {"name": "new"}
    assert told.verified(hook.secret)["data"]["schema_version"] == 7


def test_an_event_that_cannot_be_told_is_on_record_and_holds_up_no_other_key(
    database: Database,
    ledger: LedgerApplication,
    receiver: Receiver,
    connection: Connection[Any],
    owner: Connection[Any],
) -> None:
    hook = register(connection, receiver.url)
    bad = append(owner, "other/ledger", 1, "ledger.opened", b"no JSON")
    behind = append(owner, "other/ledger", 2, "ledger.opened", b"no JSON")
    move(ledger)
    with publishing(database, Publishing(ANYWHERE, first_wait_seconds=1e-6)):
        await_states(connection, hook.id, "acknowledged", "failed", "pending", count=5)
        eventually(lambda: state(connection, hook.id, bad).state == "failed")
    assert "cannot be told" in state(connection, hook.id, bad).reason
    assert state(connection, hook.id, behind).attempts == () and len(receiver.received) == 3


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
