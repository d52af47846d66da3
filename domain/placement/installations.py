"""Installations by their names in a placement."""

from typing import NamedTuple

from domain.journal.database import Database

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,31}$"

MAIN = "main"
"""The name of the only installation of a service that has no placement."""


class Installation(NamedTuple):
    """One journal with all that is made of it: a schema of a database. The name is its own within the placement."""

    name: str
    database: Database
