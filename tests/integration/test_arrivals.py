"""Arrivals: a commit wakes those who wait, also after the listening connection was lost."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.engine.journal_listener import JournalListener
from tests.ledgers import open_accounts, running, transfer
from tests.projecting import PATIENCE_SECONDS, cut, eventually

pytestmark = pytest.mark.integration


@contextmanager
def listening(database: Database) -> Iterator[JournalListener]:
    """Arrivals whose listening connection is up."""
    arrivals, stop = JournalListener(database), threading.Event()
    thread = threading.Thread(target=arrivals.run, args=(stop,))
    thread.start()
    try:
        arrivals.wait(0, PATIENCE_SECONDS)
        yield arrivals
    finally:
        stop.set()
        thread.join()


def test_who_waits_is_woken_by_a_commit(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        with listening(database) as arrivals:
            known = arrivals.count
            waiting = threading.Thread(target=arrivals.wait, args=(known, PATIENCE_SECONDS))
            waiting.start()
            ledger.perform(transfer("a", "b", 1))
            waiting.join()
            assert arrivals.count > known


def test_a_lost_connection_is_made_again(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        with listening(database) as arrivals:
            known = arrivals.count
            assert cut(owner, "tallystick arrivals") == 1
            eventually(
                lambda: arrivals.count > known
            )  # it listens again, and something may have come meanwhile
            known = arrivals.count
            ledger.perform(transfer("a", "b", 1))
            eventually(lambda: arrivals.count > known)


def test_nobody_waits_for_longer_than_was_said(database: Database) -> None:
    arrivals = JournalListener(database)
    arrivals.wait(arrivals.count, 0.01)
    arrivals.wait(arrivals.count - 1, PATIENCE_SECONDS)
