"""Connections for reads, from the ledger's own pool."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eventsourcing.persistence import InterfaceError, OperationalError
from psycopg import Connection

from domain.errors import JournalUnavailable
from domain.group_commit import reason_of
from domain.ledger import Ledger

POOL_SIZE = 8
"""How many reads can go on at once: the default of the library's pool."""


@contextmanager
def connected(ledger: Ledger) -> Iterator[Connection[Any]]:
    """A connection with the rights of the service; raises `JournalUnavailable` when the database is out of reach."""
    try:
        with ledger.datastore.get_connection() as connection:
            yield connection
    except (OperationalError, InterfaceError) as error:
        raise JournalUnavailable(reason_of(error)) from error
