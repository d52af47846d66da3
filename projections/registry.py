"""The registry of projections: their names, and how the tables of their versions are made and dropped."""

from collections.abc import Iterable
from typing import Any

import structlog
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.journal.queries import load
from projections.engine.projection import Projection
from projections.errors import projection_not_found
from projections.read_models import (
    balances,
    due_work,
    entries,
    event_index,
    ledgers,
    outbox,
    payouts,
    seals,
    transactions,
)

NATS = "nats"
"""The name under which the progress of the NATS stream is shown among the projections."""

PROJECTIONS: dict[str, Projection] = {
    projection.name: projection
    for projection in (
        ledgers.PROJECTION,
        balances.PROJECTION,
        entries.PROJECTION,
        transactions.PROJECTION,
        due_work.PROJECTION,
        payouts.PROJECTION,
        event_index.PROJECTION,
        seals.PROJECTION,
        outbox.PROJECTION,
    )
}

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


def install(database: Database, projections: Iterable[Projection] | None = None) -> None:
    """Register projections, all by default, and make sure that each has a live version of its shape.

    If there is none, one is made, and a rebuild is requested to fill it. It is not read until it is filled. Versions of
    other shapes are left to the releases that know them. Any number of processes may call this at once. Raises
    `psycopg.OperationalError` if the database is out of reach, and `psycopg.errors.UndefinedTable` or `UndefinedColumn`
    if it was not migrated.
    """
    with database.connect("tallystick install") as connection, connection.transaction():
        _SQL["lock_installation"].run(connection)
        for projection in PROJECTIONS.values() if projections is None else projections:
            _SQL["register"].run(connection, {"name": projection.name})
            version = live_version(connection, projection)
            if version is None:
                _make_live(connection, projection)
            else:
                # A rebuild that failed under the previous release may succeed under this one.
                _SQL["try_again"].run(connection, {"name": projection.name, "version": version})


def is_installed(connection: Connection[Any], projections: Iterable[Projection]) -> bool:
    """Tell whether each projection has a live version of its shape. A version may have been dropped meanwhile."""
    shapes = {projection.name: projection.shape for projection in projections}
    wanted = {"names": list(shapes), "shapes": list(shapes.values())}
    row = _SQL["are_live"].row(connection, wanted)
    return row is not None and row[0] == len(shapes)


def _make_live(connection: Connection[Any], projection: Projection) -> None:
    version = next_version(connection, projection.name)
    (head,) = _SQL["head"].row(connection) or (0,)
    if head:
        add_version(connection, projection, version, "rebuilding", live=True)
        reason = f"the first version of shape {projection.shape}"
        add_rebuild(connection, projection, version, "tallystick", reason)
    else:
        add_version(connection, projection, version, "running", live=True)
        create_indexes(connection, projection, version)
    _log.info("projection installed", projection=projection.name, version=version, shape=projection.shape)


def find_projection(name: str) -> Projection:
    """Return a projection by its name. Raises `ProjectionNotFound`."""
    try:
        return PROJECTIONS[name]
    except KeyError:
        raise projection_not_found(name) from None


def live_version(connection: Connection[Any], projection: Projection) -> int | None:
    """Return the live version of a projection in its shape, or None if there is none."""
    wanted = {"name": projection.name, "shape": projection.shape}
    row = _SQL["live"].row(connection, wanted)
    return None if row is None else int(row[0])


def next_version(connection: Connection[Any], name: str) -> int:
    """Return the number for the next version of a projection. No version had it before."""
    row = _SQL["next_version"].only(connection, {"name": name})
    return int(row[0])


def add_version(
    connection: Connection[Any], projection: Projection, version: int, state: str, *, live: bool = False
) -> None:
    """Make the tables of a version at position 0, without the indexes that filling it does not need."""
    projection.queries(version)["create_tables"].run(connection)
    wanted = {
        "name": projection.name,
        "version": version,
        "state": state,
        "shape": projection.shape,
        "live": live,
        "tables": projection.table_names(version),
    }
    _SQL["add_version"].run(connection, wanted)


def add_rebuild(
    connection: Connection[Any],
    projection: Projection,
    version: int,
    actor: str,
    reason: str | None,
    accept_difference: str | None = None,
) -> None:
    """Request that a version is filled and, if another version of its shape is live, that it replaces that one."""
    wanted = {
        "name": projection.name,
        "version": version,
        "shape": projection.shape,
        "actor": actor,
        "reason": reason,
        "accept_difference": accept_difference,
    }
    _SQL["add_rebuild"].run(connection, wanted)


def create_indexes(connection: Connection[Any], projection: Projection, version: int) -> None:
    """Make the missing indexes of a version."""
    projection.queries(version)["create_indexes"].run(connection)


def drop_version(connection: Connection[Any], name: str, version: int) -> None:
    """Drop a version's tables and forget it; raise `psycopg.errors.LockNotAvailable` if it is still being read."""
    with connection.transaction():
        _SQL["patience"].run(connection)
        wanted = {"name": name, "version": version}
        (tables,) = _SQL["tables"].row(connection, wanted) or ((),)
        for table in tables:
            connection.execute(SQL("DROP TABLE IF EXISTS {}").format(Identifier(table)))
        _SQL["remove_version"].run(connection, wanted)
