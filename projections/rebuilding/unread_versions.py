"""Versions that this release does not read, and dropping them.

A replaced version is kept, so that an operator can look at it and reads in progress can finish. It is dropped when the
projection is rebuilt again, or on request. A version of another shape belongs to other releases. No release can tell
whether one of those will be started again. So an operator drops it, and not while a release advances it.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import structlog
from psycopg import Connection, errors

from domain.journal.database import Database
from domain.journal.queries import load
from projections.engine.leadership import try_acquire
from projections.engine.projection import Projection
from projections.rebuilding.transitions import moves
from projections.registry import PROJECTIONS, drop_version, find_projection

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class UnreadVersion(NamedTuple):
    """A version that this release does not read: replaced, `live` for other releases, or being made for them."""

    name: str
    version: int
    shape: int
    state: str
    live: bool
    position: int


def unread_versions(connection: Connection[Any], name: str | None = None) -> list[UnreadVersion]:
    """Return the versions of a projection, or of all, that this release does not read, by name and number.

    Raises `ProjectionNotFound`.
    """
    projections = PROJECTIONS.values() if name is None else [find_projection(name)]
    rows = _SQL["unread"].rows(connection, _known(projections))
    return [UnreadVersion(*row) for row in rows]


def drop_retired(connection: Connection[Any], name: str, shape: int) -> None:
    """Drop the replaced versions of a shape. Those that are still being read are left for the next time."""
    for (version,) in _SQL["retired"].rows(connection, {"name": name, "shape": shape}):
        try:
            drop_version(connection, name, version)
        except errors.LockNotAvailable:
            _log.warning("retired version is still read", projection=name, version=version)


def drop_unread(database: Database, name: str, actor: str) -> tuple[list[UnreadVersion], list[UnreadVersion]]:
    """Drop the versions of a projection that this release does not read; return those dropped, and those kept.

    Kept are versions that a running release of another shape advances or fills, and those that are being read. Raises
    `ProjectionNotFound`.
    """
    dropped: list[UnreadVersion] = []
    kept: list[UnreadVersion] = []
    # Places taken on this connection keep others from starting on a version that is being dropped.
    with database.connect("tallystick retirement") as connection:
        for unread in unread_versions(connection, name):
            (dropped if _drop(connection, unread, actor) else kept).append(unread)
    return dropped, kept


def _drop(connection: Connection[Any], unread: UnreadVersion, actor: str) -> bool:
    of_shape = f"{unread.name}/{unread.shape}"
    if unread.state != "retired" and not all(
        try_acquire(connection, purpose, of_shape) for purpose in ("projection", "rebuild")
    ):
        return False
    try:
        with connection.transaction():
            wanted = {"name": unread.name, "version": unread.version, "actor": actor}
            _SQL["end_rebuild"].run(connection, {**wanted, "moves": moves("cancel")})
            drop_version(connection, unread.name, unread.version)
    except errors.LockNotAvailable:
        return False
    _log.info("version dropped", projection=unread.name, version=unread.version, actor=actor)
    return True


def _known(projections: Collection[Projection]) -> dict[str, Any]:
    return {
        "names": [projection.name for projection in projections],
        "shapes": [projection.shape for projection in projections],
    }
