"""Projectors that meet what they cannot read or apply: halted or tried again, and never silently past it."""

import threading
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from domain.journal.database import Database
from domain.model.events import Recorded
from domain.model.transactions import TransactionPosted
from projections.engine.dead_letters import list_letters
from projections.engine.projection import Queries
from projections.read_models import entries
from projections.read_models.balances import list_accounts
from projections.read_models.entries import list_entries
from projections.registry import PROJECTIONS
from projections.running.positions import progress
from tests.integration.projector.folding import assert_equal_to_fold, fill
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import (
    append,
    await_head,
    await_progress,
    delete_event,
    eventually,
    holder,
    projecting,
    set_state,
)

pytestmark = pytest.mark.integration


def test_a_gap_in_the_journal_halts_what_comes_to_it(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcome = ledger.perform(transfer("a", "b", 5))
        outcomes(ledger.execute(*(transfer("a", "b", 5) for _ in range(9))).result())
    # An event with a topic neither reads. Any gap means that something is wrong.
    append(owner, "main/other", 1, "future.event", b"{}")
    head = append(owner, "main/other", 2, "future.event", b"{}")
    delete_event(owner, outcome.position)
    delete_event(owner, head)
    with projecting(database):
        for name in PROJECTIONS:
            seen = await_progress(owner, name, lambda seen: seen.state == "halted")
            assert seen.position == outcome.position - 1
            assert seen.last_error is not None
            assert f"event {outcome.position} is missing" in seen.last_error
            assert seen.lag_events == head - outcome.position + 1
            assert seen.lag_seconds > 0


def test_a_missing_last_event_is_a_gap(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
    head = append(owner, "main/other", 1, "future.event", b"{}")
    delete_event(owner, head)
    with projecting(database):
        seen = await_progress(owner, "entries", lambda seen: seen.state == "halted")
        assert (seen.position, seen.head) == (head - 1, head)


def test_an_unknown_topic_is_passed_over(database: Database, owner: Connection[Any]) -> None:
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        append(owner, "main/future/1", 1, "future.event", b"\x00 not even JSON")
        ledger.perform(transfer("a", "b", 5))
        await_head(owner)
        assert {seen.balance for seen in list_accounts(owner, "main", limit=9).rows} == {-5, 5}


def test_an_event_of_a_newer_release_halts_what_reads_it(database: Database, owner: Connection[Any]) -> None:
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        before = ledger.perform(transfer("a", "b", 5)).position
        with owner.transaction():  # together, so that one batch meets both
            state = b'{"class_version":99,"data":{}}'
            newer = append(owner, "main/transactions/x", 1, "transaction.posted", state)
            append(owner, "main/future/1", 1, "future.event", b"{}")
        await_head(owner, "balances", "ledgers")
        seen = await_progress(owner, "entries", lambda seen: seen.state == "halted")
        assert seen.position == newer - 1 >= before
        assert seen.last_error is not None
        assert "newer_version" in seen.last_error
        assert seen.lag_seconds >= 0
        assert seen.dead_letters == 0
        assert len(list_entries(owner, "main", "a", limit=9).rows) == 1
        # The place is free for a release that can read the event.
        eventually(lambda: holder(owner, "entries") is None)
        # When resumed, it meets the same event again: nothing is ever skipped.
        set_state(owner, "entries", "running")
        assert await_progress(owner, "entries", lambda seen: seen.state == "halted").position == newer - 1


def test_a_newer_release_goes_on_where_an_older_one_has_halted(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    present = TransactionPosted.class_version
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        posted = ledger.perform(transfer("a", "b", 5)).position
        stored = owner.execute("SELECT state FROM events WHERE notification_id = %s", (posted,)).fetchone()
        assert stored is not None
        raised = stored[0].replace(b'"class_version":%d' % present, b'"class_version":%d' % (present + 1))
        newer = append(owner, f"main/transactions/{uuid4()}", 1, TransactionPosted.TOPIC, raised)
        await_progress(owner, "entries", lambda seen: seen.state == "halted")
        monkeypatch.setattr(TransactionPosted, "class_version", present + 1)
        # The older release stops there, and a newer one continues without an operator.
        with projecting(database, [entries.PROJECTION]):
            seen = await_progress(owner, "entries", lambda seen: seen.position >= newer)
        assert (seen.state, seen.last_error) == ("running", None)
        assert len(list_entries(owner, "main", "a", limit=9).rows) == 2


def test_who_comes_and_cannot_read_on_either_leaves_it_halted(
    database: Database, owner: Connection[Any]
) -> None:
    with projecting(database, [entries.PROJECTION]), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        newer = append(owner, "main/transactions/x", 1, "transaction.posted", b'{"class_version":99}')
        await_progress(owner, "entries", lambda seen: seen.state == "halted")
        eventually(lambda: holder(owner, "entries") is None)
    left = {"event": "projection is left to a newer release", "projection": "entries"}
    with capture_logs() as logs, projecting(database, [entries.PROJECTION]):
        eventually(lambda: any(left.items() <= log.items() for log in logs))
        seen = progress(owner, "entries")
        assert (seen.state, seen.position) == ("halted", newer - 1)
        assert seen.last_error is not None and seen.last_error.startswith("newer_version: ")


def test_tables_that_contradict_the_journal_hold_what_contradicts_it(
    database: Database, owner: Connection[Any]
) -> None:
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        await_head(owner)
        owner.execute("UPDATE balances_v1 SET version = 7 WHERE address = 'a'")
        ledger.perform(transfer("a", "b", 5))
        await_head(owner)
        (letter,) = list_letters(owner)
        assert "main/accounts/a is not at the version before event" in letter.message
        assert [seen.balance for seen in list_accounts(owner, "main", limit=9).rows] == [0, 5]


def test_a_fault_is_recorded_and_tried_again_while_others_go_on(
    database: Database, owner: Connection[Any]
) -> None:
    mended = threading.Event()

    def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
        entries.project(connection, queries, events)
        if not mended.is_set():
            raise RuntimeError("a fault of ours")

    sound = [found for found in PROJECTIONS.values() if found is not entries.PROJECTION]
    faulty = [*sound, entries.PROJECTION._replace(project=project)]
    with projecting(database, faulty), running(database) as ledger:
        fill(ledger, count=40)
        seen = await_progress(owner, "entries", lambda seen: seen.last_error is not None)
        assert seen.last_error == "RuntimeError: a fault of ours"
        assert seen.state == "running"
        await_head(owner, "ledgers", "balances")
        mended.set()
        await_head(owner, "ledgers", "balances", "entries")
        assert await_progress(owner, "entries", lambda seen: True).last_error is None
    assert_equal_to_fold(database, owner)


def test_an_error_is_over_once_nothing_is_lacking(database: Database, owner: Connection[Any]) -> None:
    """Otherwise it would be told until the next event, however long nothing is recorded."""
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, "a", "b")
        await_head(owner)
        owner.execute("REVOKE SELECT ON head FROM tallystick_service")
        await_progress(owner, "entries", lambda seen: seen.last_error is not None)
        owner.execute("GRANT SELECT ON head TO tallystick_service")
        await_progress(owner, "entries", lambda seen: seen.last_error is None)
