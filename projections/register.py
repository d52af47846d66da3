"""The register of projections: which there are, and making and dropping the tables of their versions."""

from typing import Any

import psycopg
import structlog
from psycopg import Connection

from domain.errors import ProjectionNotFound
from domain.journal.database import Database
from domain.journal.queries import load
from projections import balances, due, entries, ledgers, payouts, transactions
from projections.projection import Projection

PROJECTIONS: dict[str, Projection] = {
    projection.name: projection
    for projection in (
        ledgers.PROJECTION,
        balances.PROJECTION,
        entries.PROJECTION,
        transactions.PROJECTION,
        due.PROJECTION,
        payouts.PROJECTION,
    )
}

_SQL = load("projections", "register.sql")
_log = structlog.get_logger(__name__)


class NewerShape(Exception):
    """A projection's tables were made by a newer release, and this one cannot read them."""

    def __init__(self, name: str, found: int, known: int) -> None:
        super().__init__(
            f"the tables of projection {name} are of a newer release: shape {found}, and this one reads {known}"
        )


def install(database: Database) -> None:
    """Register every projection and make the tables of its first version, where that was not done before.

    A version whose tables an older release made in another shape is replaced by a new one, which begins at position
    0 and is live at once. Safe when many processes do so at once. Raises `psycopg.OperationalError` if the database is
    out of reach, `psycopg.errors.UndefinedTable` if it was not migrated, and `NewerShape`.
    """
    with database.connect("tallystick install") as connection, connection.transaction():
        connection.execute(_SQL["lock_installation"])
        for projection in PROJECTIONS.values():
            if connection.execute(_SQL["register"], {"name": projection.name}).rowcount:
                _make(connection, projection, 1)
            else:
                _reshape(connection, projection)


def _make(connection: Connection[Any], projection: Projection, version: int) -> None:
    add_version(connection, projection, version, "running")
    create_indexes(connection, projection, version)


def _reshape(connection: Connection[Any], projection: Projection) -> None:
    """Make a new version, if the live one has not the shape that this release reads, and put it in its place."""
    row = connection.execute(_SQL["live_shape"], {"name": projection.name}).fetchone()
    assert row is not None
    (shape,) = row
    if shape > projection.shape:
        raise NewerShape(projection.name, shape, projection.shape)
    if shape < projection.shape:
        version = next_version(connection, projection)
        # Unfinished rebuilds have the old shape as well.
        connection.execute(_SQL["retire_all"], {"name": projection.name})
        _make(connection, projection, version)
        connection.execute(_SQL["switch"], {"name": projection.name, "version": version})
        _log.warning("projection is made anew in another shape", projection=projection.name, version=version)


def find_projection(name: str) -> Projection:
    """Return a projection by its name; raise `ProjectionNotFound`."""
    try:
        return PROJECTIONS[name]
    except KeyError:
        raise ProjectionNotFound from None


def next_version(connection: Connection[Any], projection: Projection) -> int:
    """Return the number that the next version of a registered projection gets."""
    row = connection.execute(_SQL["next_version"], {"name": projection.name}).fetchone()
    assert row is not None
    return int(row[0])


def add_version(connection: Connection[Any], projection: Projection, version: int, state: str) -> None:
    """Make the tables of a version, without the indexes that filling it does not need, at position 0."""
    connection.execute(projection.queries(version)["create_tables"])
    wanted = {"name": projection.name, "version": version, "state": state, "shape": projection.shape}
    connection.execute(_SQL["add_version"], wanted)


def create_indexes(connection: Connection[Any], projection: Projection, version: int) -> None:
    """Make those indexes of a version that are not there yet."""
    connection.execute(projection.queries(version)["create_indexes"])


def drop_version(connection: Connection[Any], projection: Projection, version: int) -> None:
    """Drop a version's tables and forget it; raise `psycopg.errors.LockNotAvailable` if it is still read."""
    with connection.transaction():
        connection.execute(_SQL["patience"])
        connection.execute(projection.queries(version)["drop_tables"])
        connection.execute(_SQL["remove_version"], {"name": projection.name, "version": version})


def drop_retired(connection: Connection[Any]) -> None:
    """Drop all versions that were replaced; what is still being read is left for the next time."""
    for name, version in connection.execute(_SQL["retired"]).fetchall():
        try:
            if name in PROJECTIONS:
                drop_version(connection, PROJECTIONS[name], version)
        except psycopg.errors.LockNotAvailable:
            _log.warning("retired version is still read", projection=name, version=version)
