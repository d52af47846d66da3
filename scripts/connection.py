"""The database that a command works on: the one it is given, else the embedded one of its data directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from domain.journal.database import Database

if TYPE_CHECKING:
    from api.settings import Settings


@contextmanager
def connected(settings: "Settings") -> Iterator[Database]:
    """The database of the settings; an embedded PostgreSQL that does not run is run for as long as this lasts.

    On one that cannot run, says why and exits 3.
    """
    from scripts.embedded_postgres import EmbeddedPostgresError, attached
    from scripts.serve import fail

    if settings.database_url:
        yield Database(settings.database_url, settings.schema_)
        return
    try:
        with attached(settings.data_dir) as url:
            yield Database(url, settings.schema_)
    except EmbeddedPostgresError as error:
        fail(str(error))


def existing(data_dir: Path) -> Path:
    """Return a data directory; where there is none, says so and exits 3, lest one be made by what only looks at it."""
    from scripts.serve import fail

    if not data_dir.is_dir():
        fail(f"there is no data directory {data_dir}; name it by --data-dir, or a database by --database-url")
    return data_dir
