"""What a service that only reads needs of its database, found out before it starts: it prepares nothing itself."""

from time import monotonic, sleep

import psycopg
import structlog
from psycopg import errors

from api.security.keys import find_key
from domain.journal.database import Database
from domain.journal.migrations import names
from domain.journal.trouble import Trouble, trouble_of
from projections.running.positions import all_progress
from projections.running.replay import read_replay
from scripts.serving.database import give_up

PATIENCE_SECONDS = 10.0
"""How long to wait for a server that starts, or for what a primary has just migrated."""

SAY_SECONDS = 3.0
_MISSING = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)


def require_readable(database: Database) -> None:
    """Return once this release can read the schema. If it cannot in `PATIENCE_SECONDS`, say why and exit 3."""
    began, say_at = monotonic(), 0.0
    while (trouble := _trouble_with(database)) is not None:
        if not trouble.may_pass or monotonic() > began + PATIENCE_SECONDS:
            give_up(trouble.words)
        if monotonic() > say_at:
            say_at = monotonic() + SAY_SECONDS
            structlog.get_logger(__name__).warning("waiting for the database", error=trouble.words)
        sleep(0.2)


def _trouble_with(database: Database) -> Trouble | None:
    """Return why this release cannot read the schema, None if it can. It may pass if a primary can bring what lacks."""
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
            return None
    except psycopg.Error as error:
        if newer and isinstance(error, _MISSING):
            return Trouble(f"the schema is of a newer release ({newer[-1]}), which this one cannot read")
        trouble = trouble_of(error, database)
        return trouble._replace(may_pass=trouble.may_pass or (is_copy and isinstance(error, _MISSING)))
