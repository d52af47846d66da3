"""What the doctor finds late or in the way: projections, webhooks, rebuilds, due work, sessions."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection, errors

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.model.entries import Entry
from domain.model.idempotency import Operation, operation_id
from domain.model.postings import AcceptTransaction, PostTransaction
from domain.model.times import instant
from domain.model.transactions import Description
from projections.engine.leadership import try_acquire
from projections.outbox.webhooks import disable_webhook
from projections.registry import PROJECTIONS
from scripts.doctor import advancing, journal, outbox, projections, server
from scripts.doctor.examination import Check, Limits, examine
from tests.databases import Databases
from tests.integration.doctor.examining import ALL, PATIENCE_SECONDS, codes, fill, found_by
from tests.ledgers import CONTEXT, outcomes, running, transfer
from tests.outboxes import register
from tests.projecting import await_head, eventually, holder, projecting, set_state
from tests.tampering import disarm

pytestmark = pytest.mark.integration


@pytest.mark.prepared(by=fill)
def test_who_falls_behind_is_told_from_who_catches_up(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(lag_seconds=0, look_again_seconds=0.2)
    with running(database) as ledger:
        outcomes(ledger.execute(*(transfer("alice", "bob", 1) for _ in range(50))).result())
    (absent,) = found_by(database, projections.standing, limits)
    assert (absent.code, absent.commands) == ("projector_absent", ["tallystick serve"])
    assert absent.found == f"{len(PROJECTIONS)} projections: {', '.join(sorted(PROJECTIONS))}"
    assert len(absent.examples) == len(PROJECTIONS)
    assert codes(database, projections.standing) == []
    set_state(owner, "due", "paused")
    with database.connect("test projector") as projector:
        assert try_acquire(projector, "projection", "entries") and try_acquire(
            projector, "projection", "balances/1"
        )
        found = {finding.code: finding for finding in found_by(database, projections.standing, limits)}
        pid = str(projector.info.backend_pid)
    assert sorted(found) == ["projection_paused", "projection_stuck", "projector_absent"]
    assert found["projection_paused"].commands == ["tallystick projections resume due"]
    assert found["projection_stuck"].found == "2 projections: balances, entries"
    assert found["projection_stuck"].commands == [
        "tallystick projections restart balances",
        "tallystick projections restart entries",
    ]
    held = found["projection_stuck"].examples
    assert all(f"PostgreSQL process {pid} (test projector, from " in words for words in held)
    assert "Restart the process" in found["projection_stuck"].remedy

    def advance_meanwhile(_: float) -> None:
        owner.execute("UPDATE projection_versions SET position = position + 1 WHERE name = 'entries'")

    monkeypatch.setattr(advancing, "sleep", advance_meanwhile)
    # A place is free once the server has ended its holder's session.
    eventually(lambda: holder(owner, "balances") is None)
    assert sorted(codes(database, projections.standing, limits)) == [
        "projection_lagging",
        "projection_paused",
        "projector_absent",
    ]


@pytest.mark.prepared(by=fill)
def test_webhooks_that_get_nothing_or_not_all(
    database: Database, owner: Connection[Any], databases: Databases
) -> None:
    assert codes(database, outbox.deliveries) == []
    with running(database) as ledger, projecting(database), database.connect("test webhooks") as connection:
        first, second = (register(connection, f"https://example.com/{n}") for n in range(2))
        outcomes(ledger.execute(transfer("alice", "bob", 1)).result())
        await_head(owner, "outbox")
        assert codes(database, outbox.deliveries) == []
        with databases.installed() as elsewhere, elsewhere.connect("test publisher") as publisher:
            assert try_acquire(publisher, "publish", "outbox")
            assert codes(database, outbox.deliveries, Limits(lag_seconds=0)) == ["publisher_absent"]
        with database.connect("test publisher") as publisher:
            assert try_acquire(publisher, "publish", "outbox")
            assert codes(database, outbox.deliveries, Limits(lag_seconds=0)) == ["deliveries_late"]
        disable_webhook(connection, first.id, "being moved")
        owner.execute(
            "UPDATE deliveries SET state = 'failed', due_at = NULL WHERE webhook_id = %s", (second.id,)
        )
    assert codes(database, outbox.deliveries, Limits(lag_seconds=0)) == [
        "webhook_disabled",
        "deliveries_failed",
    ]


@pytest.mark.prepared(by=fill)
def test_a_rebuild_that_nobody_works_on_and_one_that_was_refused(
    database: Database, owner: Connection[Any]
) -> None:
    owner.execute("CREATE TABLE balances_v2 (LIKE balances_v1)")
    owner.execute(
        "INSERT INTO projection_versions (name, version, state) VALUES ('balances', 2, 'rebuilding')"
    )
    assert codes(database, projections.standing) == ["rebuild_unfinished"]
    with database.connect("test rebuild") as rebuilder:
        assert try_acquire(rebuilder, "rebuild", "balances")
        assert codes(database, projections.standing) == []
    owner.execute("UPDATE projection_versions SET last_error = 'they differ' WHERE version = 2")
    assert codes(database, projections.standing) == ["rebuild_refused"]


@pytest.mark.parametrize("make", [PostTransaction, AcceptTransaction])
@pytest.mark.prepared(by=fill)
def test_what_is_due_and_not_done_is_found(
    database: Database, owner: Connection[Any], make: type[PostTransaction]
) -> None:
    past = datetime.now(UTC) - timedelta(seconds=30)
    ledger = LedgerApplication(database, lambda: instant(past))
    ledger.start()
    try:
        entries = (
            Entry(account="alice", direction="debit", amount=1),
            Entry(account="bob", direction="credit", amount=1),
        )
        operation = Operation("k", operation_id("main", "k"), "f")
        expires_at = instant(datetime.now(UTC) + timedelta(seconds=0.5))
        try_acquire = make(
            CONTEXT, "main", operation, Description(), entries, pending=True, expires_at=expires_at
        )
        ledger.perform(try_acquire)
    finally:
        ledger.close()
    with projecting(database):
        await_head(owner)
    expected = "hold_not_released" if make is PostTransaction else "request_not_carried_out"
    limits = Limits(overdue_seconds=0)
    eventually(lambda: codes(database, journal.overdue, limits) == [expected])
    # A row in `due` that is done already is a difference, not a delay.
    disarm(owner)
    owner.execute("UPDATE stored_events SET topic = 'transaction.rejected' WHERE originator_id = %s",
                  (f"main/transactions/{operation.id}",))  # fmt: skip
    assert codes(database, journal.overdue, limits) == []


@pytest.mark.prepared(by=fill)
def test_sessions_that_hold_others_up_are_found(database: Database) -> None:
    limits = Limits(idle_in_transaction_seconds=-1, transaction_seconds=-1)
    with database.connect("test sleeper", autocommit=False) as session:
        session.execute("SELECT 1")
        found = examine(database, Check("it", server.sessions), ALL, PATIENCE_SECONDS, limits).findings
        assert any(
            finding.code == "session_idle_in_transaction" and "test sleeper" in finding.found
            for finding in found
        )
        session.rollback()


@pytest.mark.prepared(by=fill)
def test_a_long_transaction_is_found(database: Database) -> None:
    limits = Limits(transaction_seconds=0)

    def is_found() -> bool:
        examined = examine(database, Check("it", server.sessions), ALL, PATIENCE_SECONDS, limits)
        return any(
            finding.code == "transaction_long_running" and "test worker" in finding.found
            for finding in examined.findings
        )

    with database.connect("test worker") as session, ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(session.execute, "SELECT pg_sleep(60)")
        eventually(is_found)
        session.cancel_safe()
        with pytest.raises(errors.QueryCanceled):
            sleeping.result()
