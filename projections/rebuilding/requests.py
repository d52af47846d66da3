"""Rebuilds that were asked for: the rows that say what is wanted, by whom and why, how far it is, what became of it.

Asking writes a row and makes empty tables. Whoever carries it out (`rebuild.py`) goes by the row, so that a rebuild
outlasts every process: asked for over HTTP or at a terminal, it is carried out by a projector.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal, NamedTuple

import psycopg
import structlog
from psycopg import Connection
from psycopg.rows import TupleRow, tuple_row
from pydantic_core import from_json

from domain.journal.queries import load
from projections.engine.comparison import TableComparison
from projections.engine.projection import Projection
from projections.engine.rate import RATE_SECONDS
from projections.errors import RebuildNeeded, RebuildNotUnderWay
from projections.registry import (
    PROJECTIONS,
    add_rebuild,
    add_version,
    drop_version,
    find_projection,
    live_version,
    next_version,
)

RebuildState = Literal[
    "requested", "filling", "comparing", "paused", "differing", "failed", "switched", "cancelled"
]

UNDER_WAY: tuple[RebuildState, ...] = ("requested", "filling", "comparing")
"""The states in which a rebuild is carried out by whoever finds it."""

PAUSED: tuple[RebuildState, ...] = ("paused",)

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class Rebuild(NamedTuple):
    """A rebuild: the version that is made, and how far it is.

    `position` of `target` are projected; the target is where the live version stands, which goes on, or the head of the
    journal where this release has no other version. `accept_difference` says why it is to replace the live version
    even if they differ. `replaced_version` is the one compared with, null if there was none or it was not compared
    yet; both stood at `compared_position`. `difference_expected` says why they can be expected to differ, if they can.
    """

    name: str
    version: int
    shape: int
    state: RebuildState
    reason: str | None
    requested_by: str
    requested_at: datetime
    accept_difference: str | None
    accepted_by: str | None
    controlled_by: str | None
    control_reason: str | None
    started_at: datetime | None
    position: int
    target: int
    rate_events_per_second: float
    last_error: str | None
    replaced_version: int | None
    compared_position: int | None
    difference_expected: str | None
    comparisons: tuple[TableComparison, ...]
    ended_at: datetime | None

    @property
    def switched(self) -> bool:
        """Whether the new version was put in the live one's place."""
        return self.state == "switched"

    @property
    def equal(self) -> bool:
        """Whether no table differs of those that were compared, if any were."""
        return all(comparison.equal for comparison in self.comparisons)

    @property
    def seconds_left(self) -> float | None:
        """How long it takes at the present rate until the target is reached; None while nothing moves."""
        if self.state not in UNDER_WAY or self.rate_events_per_second < 1:
            return None
        return max(0, self.target - self.position) / self.rate_events_per_second


def request_rebuild(
    connection: Connection[Any],
    name: str,
    actor: str,
    reason: str | None = None,
    accept_difference: str | None = None,
) -> Rebuild:
    """Ask for a rebuild; return it.

    One that is under way or paused is returned as it is, and is told of an accepted difference. One that was stopped by
    a difference goes on if that is accepted; otherwise it is begun anew, as one that failed is. Raises
    `ProjectionNotFound`.
    """
    projection = find_projection(name)
    with connection.transaction():
        connection.execute(_SQL["lock"], {"name": name})
        current = current_rebuild(connection, name)
        if current and (current.state != "differing" or accept_difference) and current.state != "failed":
            if accept_difference:
                accepted = {**_named(current), "actor": actor, "accept_difference": accept_difference}
                connection.execute(_SQL["accept"], accepted)
        else:
            if current:
                _end(connection, current, actor, reason)
            _add(connection, projection, actor, reason, accept_difference)
        found = current_rebuild(connection, name)
    assert found is not None
    _log.info("rebuild requested", projection=name, version=found.version, actor=actor, reason=reason)
    return found


def _add(
    connection: Connection[Any],
    projection: Projection,
    actor: str,
    reason: str | None,
    accept_difference: str | None,
) -> None:
    version = next_version(connection, projection.name)
    is_only_one = live_version(connection, projection) is None
    add_version(connection, projection, version, "rebuilding", live=is_only_one)
    add_rebuild(connection, projection, version, actor, reason, accept_difference)


def cancel_rebuild(connection: Connection[Any], name: str, actor: str, reason: str | None = None) -> None:
    """End a rebuild that is not ended, whatever its state; its tables are dropped by whoever carries out rebuilds.

    Where there is none, that is what was asked for. Raises `ProjectionNotFound`, then `RebuildNeeded` if the release
    has no other version.
    """
    find_projection(name)
    with connection.transaction():
        connection.execute(_SQL["lock"], {"name": name})
        current = current_rebuild(connection, name)
        if current is None:
            return
        if current.version == live_version(connection, find_projection(name)):
            raise RebuildNeeded
        _end(connection, current, actor, reason)
    _log.info("rebuild cancelled", projection=name, version=current.version, actor=actor)


def _end(connection: Connection[Any], rebuild: Rebuild, actor: str, reason: str | None) -> None:
    wanted = {**_named(rebuild), "actor": actor, "reason": reason}
    if connection.execute(_SQL["end"], wanted).rowcount:
        connection.execute(_SQL["retire"], _named(rebuild))


def pause_rebuild(connection: Connection[Any], name: str, actor: str, reason: str | None = None) -> None:
    """Keep a rebuild where it is. Again is as once. Raises `ProjectionNotFound`, then `RebuildNotUnderWay`."""
    _set_state(connection, name, "paused", UNDER_WAY, actor, reason)


def resume_rebuild(connection: Connection[Any], name: str, actor: str, reason: str | None = None) -> None:
    """Let a paused rebuild go on where it is. Again is as once. Raises as `pause_rebuild` does."""
    _set_state(connection, name, "requested", PAUSED, actor, reason)


def _set_state(
    connection: Connection[Any],
    name: str,
    state: RebuildState,
    former: Collection[RebuildState],
    actor: str,
    reason: str | None,
) -> None:
    find_projection(name)
    with connection.transaction():
        connection.execute(_SQL["lock"], {"name": name})
        current = current_rebuild(connection, name)
        if current is None or current.state not in UNDER_WAY + PAUSED:
            raise RebuildNotUnderWay
        wanted = {"state": state, "from": list(former), "actor": actor, "reason": reason}
        connection.execute(_SQL["set_state"], {**_named(current), **wanted})
    _log.info("rebuild controlled", projection=name, version=current.version, state=state, actor=actor)


def drop_cancelled(connection: Connection[Any]) -> None:
    """Drop what cancelled rebuilds have made; what is still being written is left for the next time."""
    for name, version in _tuples(connection, _SQL["cancelled"], {}):
        try:
            drop_version(connection, name, version)
        except psycopg.errors.LockNotAvailable:
            _log.info("cancelled version is still in use", projection=name, version=version)


def current_rebuild(connection: Connection[Any], name: str) -> Rebuild | None:
    """Return the rebuild of a projection, in this release's shape, that is not ended; None if there is none."""
    found = _rebuilds(connection, [find_projection(name)])
    return found[0] if found else None


def current_rebuilds(
    connection: Connection[Any], projections: Collection[Projection] | None = None
) -> list[Rebuild]:
    """Return the rebuilds that are not ended, of all projections unless some are given, by name."""
    return _rebuilds(connection, PROJECTIONS.values() if projections is None else projections)


def find_rebuild(connection: Connection[Any], name: str, version: int) -> Rebuild:
    """Return one rebuild, also if it is ended; raise `ProjectionNotFound`, and `LookupError` if there is none."""
    return _rebuilds(connection, [find_projection(name)], version)[0]


def _rebuilds(
    connection: Connection[Any], projections: Collection[Projection], version: int | None = None
) -> list[Rebuild]:
    query = _SQL["of_versions"].replace(":columns", _SQL["columns"])
    wanted = {**_known(projections), "version": version, "rate_seconds": RATE_SECONDS}
    return [_rebuild(row) for row in _tuples(connection, query, wanted)]


def _rebuild(row: TupleRow) -> Rebuild:
    *before, comparison, ended_at = row
    compared = tuple(TableComparison.of(members) for members in from_json(comparison or "[]"))
    return Rebuild._make([*before, compared, ended_at])


def _named(rebuild: Rebuild) -> dict[str, Any]:
    return {"name": rebuild.name, "version": rebuild.version}


def _known(projections: Collection[Projection]) -> dict[str, Any]:
    return {
        "names": [projection.name for projection in projections],
        "shapes": [projection.shape for projection in projections],
    }


def _tuples(connection: Connection[Any], query: str, wanted: dict[str, Any]) -> list[TupleRow]:
    return connection.cursor(row_factory=tuple_row).execute(query.encode(), wanted).fetchall()
