"""The outbox under rebuilds, other shapes and events this release cannot read."""

from typing import Any

import pytest
from psycopg import Connection

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.encoding import encode_envelope
from projections.engine.batches import read_batch
from projections.outbox.publishing import Publishing
from projections.outbox.webhooks import delete_webhook
from projections.read_models.outbox import PROJECTION
from projections.rebuilding.rebuilder import rebuild
from projections.registry import add_version
from tests.integration.webhooks.sending import move, state, webhook
from tests.ledgers import history
from tests.outboxes import ANYWHERE, await_acknowledged, await_states, deliveries, publishing, register
from tests.projecting import append, await_head, eventually, set_state
from tests.receiver import Receiver

pytestmark = pytest.mark.integration


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
    assert "no message can be made" in state(connection, hook.id, bad).reason
    assert state(connection, hook.id, behind).attempts == () and len(receiver.received) == 3
