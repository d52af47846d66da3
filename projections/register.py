"""The register of projections: which there are, and making and dropping the tables of their versions."""

from collections.abc import Iterable
from typing import Any

import psycopg
import structlog
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.errors import ProjectionNotFound
from domain.journal.database import Database
from domain.journal.queries import load
from projections import balances, due, entries, event_index, ledgers, seals, transactions
from projections.projection import Projection

PROJECTIONS: dict[str, Projection] = {
    projection.name: projection
    for projection in (
        ledgers.PROJECTION,
        balances.PROJECTION,
        entries.PROJECTION,
        transactions.PROJECTION,
        due.PROJECTION,
        event_index.PROJECTION,
        seals.PROJECTION,
    )
}

_SQL = load("projections", "register.sql")
_log = structlog.get_logger(__name__)


def install(database: Database, projections: Iterable[Projection] = tuple(PROJECTIONS.values())) -> None:
    """Register projections and see that each has a live version of the shape that this release knows.

    Versions of other shapes are left to the releases that know them. Safe when many processes do so at once. Raises
    `psycopg.OperationalError` if the database is out of reach, `psycopg.errors.UndefinedTable` or `UndefinedColumn` if
    it was not migrated.
    """
    with database.connect("tallystick install") as connection, connection.transaction():
        connection.execute(_SQL["lock_installation"])
        for projection in projections:
            connection.execute(_SQL["register"], {"name": projection.name})
            wanted = {"name": projection.name, "shape": projection.shape}
            if connection.execute(_SQL["live"], wanted).fetchone() is None:
                _make_live(connection, projection)


def _make_live(connection: Connection[Any], projection: Projection) -> None:
    version = next_version(connection, projection.name)
    add_version(connection, projection, version, "running", live=True)
    create_indexes(connection, projection, version)


def find_projection(name: str) -> Projection:
    """Return a projection by its name; raise `ProjectionNotFound`."""
    try:
        return PROJECTIONS[name]
    except KeyError:
        raise ProjectionNotFound from None


def next_version(connection: Connection[Any], name: str) -> int:
    """Return the number that the next version of a projection gets, which none had before."""
    row = connection.execute(_SQL["next_version"], {"name": name}).fetchone()
    assert row is not None
    return int(row[0])


def add_version(
    connection: Connection[Any], projection: Projection, version: int, state: str, *, live: bool = False
) -> None:
    """Make the tables of a version, without the indexes that filling it does not need, at position 0."""
    connection.execute(projection.queries(version)["create_tables"])
    wanted = {
        "name": projection.name,
        "version": version,
        "state": state,
        "shape": projection.shape,
        "live": live,
        "tables": projection.table_names(version),
    }
    connection.execute(_SQL["add_version"], wanted)


def create_indexes(connection: Connection[Any], projection: Projection, version: int) -> None:
    """Make those indexes of a version that are not there yet."""
    connection.execute(projection.queries(version)["create_indexes"])


def drop_version(connection: Connection[Any], name: str, version: int) -> None:
    """Drop a version's tables and forget it; raise `psycopg.errors.LockNotAvailable` if it is still read."""
    with connection.transaction():
        connection.execute(_SQL["patience"])
        wanted = {"name": name, "version": version}
        (tables,) = connection.execute(_SQL["tables"], wanted).fetchone() or ((),)
        for table in tables:
            connection.execute(SQL("DROP TABLE IF EXISTS {}").format(Identifier(table)))
        connection.execute(_SQL["remove_version"], wanted)


def drop_retired(connection: Connection[Any], name: str, shape: int | None = None) -> list[int]:
    """Drop versions that were replaced, of one shape or all; return which. What is still read is left for next time."""
    dropped = []
    for (version,) in connection.execute(_SQL["retired"], {"name": name, "shape": shape}).fetchall():
        try:
            drop_version(connection, name, version)
            dropped.append(version)
        except psycopg.errors.LockNotAvailable:
            _log.warning("retired version is still read", projection=name, version=version)
    return dropped
