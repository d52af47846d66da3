"""A ledger, a receiver and a connection for the tests of webhooks."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from domain.application import LedgerApplication
from domain.journal.database import Database
from projections.read_models.outbox import PROJECTION
from tests.ledgers import open_accounts, running
from tests.projecting import projecting
from tests.receiver import Receiver, receiving


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
