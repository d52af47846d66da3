"""Arrivals: a connection hears of commits, also of those that came while it did other things."""

import threading
from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.statements import BEGIN, COMMIT, statements_of
from projections.engine.journal_listener import JournalListener
from tests.ledgers import open_accounts, running, transfer
from tests.projecting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.integration


def test_who_waits_is_woken_by_a_commit(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
    with running(database) as ledger:
        listener = JournalListener(owner, database)
        heard: list[int] = []
        waiting = threading.Thread(
            target=lambda: heard.append(listener.head(listener.hear(PATIENCE_SECONDS)))
        )
        waiting.start()
        position = ledger.perform(transfer("a", "b", 1)).position
        waiting.join()
        assert heard == [position]


def test_what_came_meanwhile_is_heard_once(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
    with running(database) as ledger:
        listener = JournalListener(owner, database, "others")
        position = ledger.perform(transfer("a", "b", 1)).position
        owner.execute("NOTIFY others, 'something'")
        heard = listener.hear()
        while len(heard) < 2:
            heard += listener.hear(PATIENCE_SECONDS)
        assert {notification.payload for notification in heard} == {str(position), "something"}
        assert listener.head(heard) == position
        assert listener.hear() == []


def test_what_came_within_a_transaction_that_libpq_was_given_is_heard(
    database: Database, owner: Connection[Any]
) -> None:
    with database.connect("tallystick test") as connection:
        listener, statements = JournalListener(connection, database), statements_of(connection)
        for position in (3, 4):
            statements.ask(BEGIN, {})
            owner.execute("SELECT pg_notify(%s, %s)", (database.journal_channel, str(position)))
            statements.ask_together(("SELECT", {}), (COMMIT, {}))  # whose answer the announcement comes with
            assert listener.head(listener.hear()) == position


@pytest.mark.parametrize("payload", ["", "x", "-5", "entries/2:7", "9" * 19, "²"])
def test_what_is_no_position_says_nothing(database: Database, owner: Connection[Any], payload: str) -> None:
    listener = JournalListener(owner, database)
    owner.execute(
        "SELECT pg_notify(%s, %s), pg_notify(%s, '3')",
        (database.journal_channel, payload, database.journal_channel),
    )
    eventually(lambda: listener.head(listener.hear(PATIENCE_SECONDS)) == 3)


def test_nobody_waits_for_longer_than_was_said(database: Database, owner: Connection[Any]) -> None:
    listener = JournalListener(owner, database)
    assert listener.hear(0.01) == listener.hear(-1.0) == []
