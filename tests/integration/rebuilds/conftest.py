"""A connection and a setting for the tests of rebuilds."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebuild in many steps, so that much can happen in between."""
    monkeypatch.setattr("projections.rebuilding.part.BATCH_EVENTS", 50)


@pytest.fixture
def service(database: Database) -> Iterator[Connection[Any]]:
    """A connection with the rights of the service, which owns the tables of projections."""
    with database.connect("test service") as connection:
        yield connection
