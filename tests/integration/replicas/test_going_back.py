"""A journal whose newest position is lower than it was does not go unnoticed."""

from typing import Any

import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from domain.journal.database import Database
from projections.running.positions import PositionWaiter
from tests.ledgers import open_accounts, running
from tests.projecting import await_head, eventually, projecting

pytestmark = pytest.mark.integration


def test_a_head_that_goes_back_is_logged_and_believed(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, "a", "b")
        head = await_head(owner)
    waiter = PositionWaiter(database, poll_seconds=0.05)
    with capture_logs() as logs:
        waiter.start()
        try:
            eventually(lambda: waiter.head == head)
            waiter.note_head(head + 100)  # as an answer from a copy that has been replaced since
            assert waiter.head == head + 100
            eventually(lambda: waiter.head == head)
        finally:
            waiter.stop()
    told = [
        (log["from_position"], log["to_position"]) for log in logs if log["event"] == "the journal went back"
    ]
    assert told == [(head + 100, head)]
