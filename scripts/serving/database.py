"""The database that a command works on: the one it is given, else the embedded one of its data directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psycopg
import typer

from domain.journal.database import Database
from domain.journal.trouble import trouble_of

if TYPE_CHECKING:
    from api.settings import Settings


@contextmanager
def connected(settings: "Settings") -> Iterator[Database]:
    """The database of the settings; an embedded PostgreSQL that does not run is run for as long as this lasts.

    On one that cannot run, and on trouble with the database, says what is wrong and exits 3.
    """
    from scripts.serving.embedded_postgres import EmbeddedPostgresError, attached

    if settings.database_url:
        with explained(Database(settings.database_url, settings.schema_)) as database:
            yield database
        return
    try:
        with (
            attached(settings.data_dir) as url,
            explained(Database(url, settings.schema_)) as database,
        ):
            yield database
    except EmbeddedPostgresError as error:
        give_up(str(error))


@contextmanager
def explained(database: Database) -> Iterator[Database]:
    """Say in one sentence what is wrong with a database, and which statement mends it, where anything is; exit 3."""
    try:
        yield database
    except psycopg.Error as error:
        give_up(trouble_of(error, database).words)


def give_up(message: str) -> NoReturn:
    """Say which error ends this and exit 3."""
    typer.echo(f"tallystick: {message}", err=True)
    raise typer.Exit(3)


def existing(data_dir: Path) -> Path:
    """Return a data directory; where there is none, says so and exits 3, lest one be made by what only looks at it."""
    from scripts.console import fail

    if not data_dir.is_dir():
        fail(f"there is no data directory {data_dir}; name it by --data-dir, or a database by --database-url")
    return data_dir
