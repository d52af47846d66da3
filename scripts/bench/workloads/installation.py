"""Where a stage of the benchmark works: its own installation, in a schema that is dropped afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Identifier

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.migrations import migrate


@contextmanager
def schema(url: str) -> Iterator[Database]:
    """The name of a new schema. The schema is dropped at the end if it was made."""
    database = Database(url, f"bench_{uuid4().hex[:12]}")
    try:
        yield database
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(database.schema)))


@contextmanager
def installation(url: str) -> Iterator[Database]:
    """A new and empty installation."""
    with schema(url) as database:
        migrate(database)
        yield database


@contextmanager
def running(database: Database) -> Iterator[LedgerApplication]:
    """A ledger that takes commands."""
    with LedgerApplication(database) as ledger:
        ledger.start()
        yield ledger
