"""Projections as they are shown: progress, rebuild, and the versions that this release does not read."""

from collections.abc import Callable
from typing import Any

from psycopg import Connection

from api.resources.projections.schemas import projection_body
from projections.engine.live_version import one_instant
from projections.rebuilding.requests import current_rebuilds
from projections.rebuilding.unread_versions import unread_versions
from projections.running.positions import Progress, all_progress, progress


def all_shown(connection: Connection[Any]) -> list[dict[str, Any]]:
    """Return all projections, by name."""
    with one_instant(connection):
        return _shown(connection, all_progress(connection))


def shown(connection: Connection[Any], name: str) -> dict[str, Any]:
    """Return one projection; raise `ProjectionNotFound`."""
    with one_instant(connection):
        return _shown(connection, [progress(connection, name)])[0]


def shown_after(
    connection: Connection[Any], name: str, act: Callable[[Connection[Any], str], Any]
) -> dict[str, Any]:
    """Call `act` on a projection, then return the projection. Raises what `act` raises."""
    act(connection, name)
    return shown(connection, name)


def _shown(connection: Connection[Any], seen: list[Progress]) -> list[dict[str, Any]]:
    rebuilds = {rebuild.name: rebuild for rebuild in current_rebuilds(connection)}
    unread = unread_versions(connection)
    return [
        projection_body(each, rebuilds.get(each.name), [other for other in unread if other.name == each.name])
        for each in seen
    ]
