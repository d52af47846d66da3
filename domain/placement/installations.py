"""Installations by their names in a placement."""

from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from domain.journal.database import Database
from domain.journal.queries import load

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,31}$"

MAIN = "main"
"""The name of the only installation of a service that has no placement."""


class Installation(NamedTuple):
    """One journal with all that is made of it: a schema of a database. The name is its own within the placement."""

    name: str
    database: Database


class Standing(NamedTuple):
    """How an installation stands: the head of its journal, how many ledgers it holds, the last migration applied."""

    head: int
    ledgers: int
    migration: str


_SQL = load(__name__)


def standing(connection: Connection[Any]) -> Standing:
    """Return how the installation of a connection stands."""
    return Standing(*_SQL["standing"].only(connection))


def identity(connection: Connection[Any]) -> UUID:
    """Return the id that the installation of a connection was made with. A copy of it has the same."""
    id: UUID = _SQL["identity"].only(connection)[0]
    return id
