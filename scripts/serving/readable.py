"""What a service that only reads needs of its databases, found out before it starts: it prepares nothing itself."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from uuid import UUID

import psycopg
import structlog
from psycopg import errors

from api.security.keys import find_key
from domain.journal.database import Database
from domain.journal.migrations import names
from domain.journal.trouble import Trouble, trouble_of
from domain.placement.installations import Installation, identity
from projections.running.positions import all_progress
from projections.running.replay import read_replay
from scripts.serving.database import give_up
from scripts.serving.preparation import TROUBLED_SECONDS, SameInstallation

PATIENCE_SECONDS = 10.0
"""How long to wait for a server that starts, or for what a primary has just migrated."""

SAY_SECONDS = 3.0
_MISSING = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)


def require_readable(placed: Sequence[Installation]) -> None:
    """Return once this release can read every installation. If it cannot in `PATIENCE_SECONDS`, say why and exit 3.

    In a placement, one that cannot be read keeps no other from being served: `TROUBLED_SECONDS` are enough then. Raises
    `SameInstallation` if two names lead to one installation.
    """
    began, say_at = monotonic(), 0.0
    while troubles := _troubles(placed):
        are_all, seconds = len(troubles) == len(placed), monotonic() - began
        lasting = next((trouble for trouble in troubles if not trouble.may_pass), None)
        if are_all and (lasting or seconds > PATIENCE_SECONDS):
            give_up((lasting or troubles[0]).words)
        if monotonic() > say_at:
            say_at = monotonic() + SAY_SECONDS
            for trouble in troubles:
                structlog.get_logger(__name__).warning("waiting for the database", error=trouble.words)
        if not are_all and seconds > TROUBLED_SECONDS:
            return
        sleep(0.2)


def _troubles(placed: Sequence[Installation]) -> list[Trouble]:
    """Return why this release cannot read installations. In a placement the words name the installation.

    Raises `SameInstallation` if two of those that it can read are one.
    """
    with ThreadPoolExecutor(len(placed), "look") as looking:
        found = list(looking.map(_look, (database for _, database in placed)))
    troubles: list[Trouble] = []
    names: dict[UUID, str] = {}
    for (name, _), seen in zip(placed, found, strict=True):
        if isinstance(seen, Trouble):
            words = seen.words if len(placed) == 1 else f"{name}: {seen.words}"
            troubles.append(seen._replace(words=words))
        elif (first := names.setdefault(seen, name)) != name:
            raise SameInstallation(f"{first} and {name} are one installation, or one is a copy of the other")
    return troubles


def _look(database: Database) -> Trouble | UUID:
    """Return the installation's id, or why this release cannot read it. That may pass if a primary can mend it."""
    newer: list[str] = []
    is_copy = False
    try:
        with database.connect("tallystick serve") as connection:
            is_copy = read_replay(connection).is_copy
            applied = {name for (name,) in connection.execute("SELECT name FROM migrations").fetchall()}
            newer = sorted(applied.difference(names()))
            if missing := [name for name in names() if name not in applied]:
                words = f"the schema is older than this release, which reads {missing[-1]}: migrate the primary first"
                return Trouble(words, may_pass=is_copy)
            all_progress(connection)
            find_key(connection, b"")
            return identity(connection)
    except psycopg.Error as error:
        if newer and isinstance(error, _MISSING):
            return Trouble(f"the schema is of a newer release ({newer[-1]}), which this one cannot read")
        trouble = trouble_of(error, database)
        return trouble._replace(may_pass=trouble.may_pass or (is_copy and isinstance(error, _MISSING)))
