"""The database a command works on: the given one, else the embedded one of the data directory."""

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
    """The database of the settings. An embedded PostgreSQL that is not running is started and stopped again at the end.

    If the database cannot be used, this says why and exits 3.
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
    """If the database fails, say what is wrong and which statement mends it, in one sentence, and exit 3."""
    try:
        yield database
    except psycopg.Error as error:
        give_up(trouble_of(error, database).words)


def give_up(message: str) -> NoReturn:
    """Print the error that ends this command and exit 3."""
    typer.echo(f"tallystick: {message}", err=True)
    raise typer.Exit(3)


def existing(data_dir: Path) -> Path:
    """Return a data directory. If there is none, say so and exit 3, because a command that only reads must not make
    one.
    """
    from scripts.console import fail

    if not data_dir.is_dir():
        fail(
            f"there is no data directory {data_dir}; name one with --data-dir, or a database with --database-url"
        )
    return data_dir
