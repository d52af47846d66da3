"""The database a command works on: the given one, else the embedded one of the data directory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psycopg
import typer

from domain.journal.database import Database
from domain.journal.trouble import trouble_of
from domain.placement.installations import Installation

if TYPE_CHECKING:
    from api.settings import Settings


@contextmanager
def connected(settings: "Settings", installation: str | None = None) -> Iterator[Database]:
    """The database of an installation, home by default. An embedded PostgreSQL that is not running is started and
    stopped again at the end.

    If the database cannot be used, this says why and exits 3. If there is no such installation, it exits 2.
    """
    name = settings.placed("")[0].name if installation is None else installation
    with chosen(settings, name) as (found,), explained(found.database) as database:
        yield database


@contextmanager
def chosen(settings: "Settings", name: str | None = None) -> Iterator[Sequence[Installation]]:
    """The installation of this name, or every one without a name, home first.

    An embedded PostgreSQL that one of them needs and that is not running is started, and stopped again at the end. If
    it cannot be started, this says why and exits 3. If there is no such installation, it exits 2.
    """
    from scripts.serving.embedded_postgres import EmbeddedPostgresError, attached

    if all(found.database.url for found in _named(settings, name, "")):
        yield _named(settings, name, "")
        return
    try:
        with attached(settings.data_dir) as url:
            yield _named(settings, name, url)
    except EmbeddedPostgresError as error:
        give_up(str(error))


def _named(settings: "Settings", name: str | None, embedded_url: str) -> Sequence[Installation]:
    placed = settings.placed(embedded_url)
    if name is None:
        return placed
    for found in placed:
        if name == found.name:
            return (found,)
    names = ", ".join(found.name for found in placed)
    typer.echo(f"tallystick: there is no installation {name}; there is {names}", err=True)
    raise typer.Exit(2)


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
