"""Projections as they are shown: progress, rebuild, and the versions that this release does not read."""

from collections.abc import Callable, Sequence
from typing import Any

from psycopg import Connection

from api.http.disclosure import rebuild_as_told
from api.resources.projections.schemas import projection_body
from projections.engine.live_version import one_instant
from projections.rebuilding.requests import current_rebuilds
from projections.rebuilding.unread_versions import unread_versions
from projections.running.controls import newest_controls
from projections.running.positions import Progress, all_progress, error_as_told, progress


def all_shown(connection: Connection[Any], granted: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return all projections, by name, as they may be shown to whom these ledgers were granted, every one for None."""
    with one_instant(connection):
        return _shown(connection, all_progress(connection), granted)


def shown(connection: Connection[Any], name: str, granted: Sequence[str] | None = None) -> dict[str, Any]:
    """Return one projection, as `all_shown` does; raise `ProjectionNotFound`."""
    with one_instant(connection):
        return _shown(connection, [progress(connection, name)], granted)[0]


def shown_after(
    connection: Connection[Any], name: str, act: Callable[[Connection[Any], str], Any]
) -> dict[str, Any]:
    """Call `act` on a projection, then return the projection. Raises what `act` raises."""
    act(connection, name)
    return shown(connection, name)


def _shown(
    connection: Connection[Any], seen: list[Progress], granted: Sequence[str] | None
) -> list[dict[str, Any]]:
    rebuilds = {rebuild.name: rebuild_as_told(rebuild, granted) for rebuild in current_rebuilds(connection)}
    unread = unread_versions(connection)
    controls = newest_controls(connection)
    told = [each._replace(last_error=error_as_told(connection, each, granted)) for each in seen]
    return [
        projection_body(
            each,
            rebuilds.get(each.name),
            [other for other in unread if other.name == each.name],
            controls.get(each.name),
        )
        for each in told
    ]
