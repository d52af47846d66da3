"""Connections for reads, from the ledger's own pool."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from eventsourcing.persistence import InterfaceError, OperationalError
from psycopg import Connection

from domain.application import LedgerApplication
from domain.journal.outage import reason_of
from domain.model.errors import JournalUnavailable

POOL_SIZE = 8
"""How many reads can run at once: the default size of the library's pool."""


Found = TypeVar("Found")


def looked_up(ledger: LedgerApplication, function: Callable[[Connection[Any]], Found]) -> Found:
    """Return the result of a pure read. If its connection is lost, it runs once more on a fresh one.

    Raises `JournalUnavailable`.
    """
    try:
        return ledger.datastore.read(function)
    except (OperationalError, InterfaceError) as error:
        raise JournalUnavailable(reason_of(error)) from error


@contextmanager
def connected(ledger: LedgerApplication) -> Iterator[Connection[Any]]:
    """Yield a connection with the service's rights. Raises `JournalUnavailable` if the database is out of reach."""
    try:
        with ledger.datastore.get_connection() as connection:
            yield connection
    except (OperationalError, InterfaceError) as error:
        raise JournalUnavailable(reason_of(error)) from error
