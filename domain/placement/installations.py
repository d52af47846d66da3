"""Installations by their names in a placement."""

from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from domain.journal.database import Database
from domain.journal.queries import load
from domain.model.errors import JournalUnavailable

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,31}$"

MAIN = "main"
"""The name of the only installation of a service that has no placement."""


class Installation(NamedTuple):
    """One journal with all that is made of it: a schema of a database. The name is its own within the placement."""

    name: str
    database: Database


def not_served(name: str) -> JournalUnavailable:
    """Return the refusal of what concerns a ledger of an installation that this process does not serve."""
    words = f"The ledger is in the installation {name}, which this server was not told of."
    return JournalUnavailable("installation_unknown", f"{words} Its operator must name it.")


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
