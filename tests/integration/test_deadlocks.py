"""A change that a deadlock has undone is carried out again, and its caller hears nothing of it."""

from typing import Any

import pytest
from psycopg import Connection

from api.service.connections import MAX_DEADLOCKS, carried_out
from domain.journal.database import Database
from domain.model.errors import JournalUnavailable
from tests.ledgers import running

pytestmark = pytest.mark.integration

DEADLOCK = "DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$"


class Change:
    """A change that the database undoes as many times as asked."""

    def __init__(self, times: int) -> None:
        self.undone, self.times = 0, times

    def __call__(self, connection: Connection[Any]) -> str:
        with connection.transaction():
            if self.undone < self.times:
                self.undone += 1
                connection.execute(DEADLOCK)
        return "done"


def test_a_change_undone_by_deadlocks_is_carried_out_again(database: Database) -> None:
    change = Change(MAX_DEADLOCKS)
    with running(database) as ledger:
        assert carried_out(ledger, change) == "done"
    assert change.undone == MAX_DEADLOCKS


def test_one_that_is_undone_for_ever_is_told_as_locked(database: Database) -> None:
    change = Change(100)
    with running(database) as ledger, pytest.raises(JournalUnavailable) as refused:
        carried_out(ledger, change)
    assert (refused.value.reason, change.undone) == ("locked", MAX_DEADLOCKS + 1)


def test_no_other_error_is_met_twice(database: Database) -> None:
    calls = []

    def fail(connection: Connection[Any]) -> None:
        calls.append(connection.execute("SELECT 1").fetchone())
        raise ValueError

    with running(database) as ledger, pytest.raises(ValueError):  # noqa: PT011
        carried_out(ledger, fail)
    assert len(calls) == 1
