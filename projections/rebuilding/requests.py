"""Requested rebuilds: rows that say what is wanted, by whom and why, how far it is, and how it ended.

A request writes a row and creates empty tables. The rebuilder (`rebuilder.py`) works from the row, so a rebuild
survives any process. Whether requested over HTTP or at a terminal, a projector carries it out.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg import Connection
from psycopg.rows import TupleRow
from pydantic_core import from_json

from domain.journal.queries import load
from projections.engine.comparison import TableComparison
from projections.engine.projection import Projection
from projections.engine.rate import RATE_SECONDS
from projections.errors import RebuildNeeded, RebuildNotUnderWay
from projections.rebuilding.transitions import (
    TRANSITIONS,
    UNDER_WAY,
    Action,
    RebuildState,
    is_allowed,
    moves,
)
from projections.registry import (
    PROJECTIONS,
    add_rebuild,
    add_version,
    drop_version,
    find_projection,
    live_version,
    next_version,
)

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class Rebuild(NamedTuple):
    """A rebuild: the version being made, and its progress.

    The events up to `position` are projected, of those up to `target`. The target is the position of the live version,
    which keeps moving, or the head of the journal if this release has no other version. `accept_difference` is the
    reason for replacing the live version even if the two differ. `replaced_version` is the version it was compared
    with, None if there was none or the comparison is still to come. Both were at `compared_position` then.
    `difference_expected` says why the two may differ, None if there is no reason.
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
        """Whether the new version has replaced the live one."""
        return self.state == "switched"

    @property
    def equal(self) -> bool:
        """Whether all compared tables are equal. True if none were compared."""
        return all(comparison.equal for comparison in self.comparisons)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the target is reached at the present rate. None while nothing moves."""
        if self.state not in UNDER_WAY or self.rate_events_per_second < 1:
            return None
        return max(0, self.target - self.position) / self.rate_events_per_second


def lock_out_requests(connection: Connection[Any], name: str) -> None:
    """Let no other request on a projection go on until this transaction ends.

    It must be the transaction's first lock: then come the rebuild, its parts, and the versions.
    """
    _SQL["lock"].run(connection, {"name": name})


def request_rebuild(
    connection: Connection[Any],
    name: str,
    actor: str,
    reason: str | None = None,
    accept_difference: str | None = None,
) -> Rebuild:
    """Request a rebuild; return it.

    A rebuild that is under way or paused is returned as it is, with an accepted difference recorded on it. One that
    stopped at a difference continues if the difference is accepted. Otherwise it is started over, and so is one that
    failed. Raises `ProjectionNotFound`.
    """
    projection = find_projection(name)
    with connection.transaction():
        lock_out_requests(connection, name)
        current = current_rebuild(connection, name)
        if current and is_allowed("accept" if accept_difference else "request", current.state):
            if accept_difference:
                accepted = {"actor": actor, "accept_difference": accept_difference, "moves": moves("accept")}
                _SQL["accept"].run(connection, {**_named(current), **accepted})
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
    """Cancel the unended rebuild of a projection, in whatever state. The rebuilder drops its tables later.

    If there is none, nothing changes. Raises `ProjectionNotFound`, then `RebuildNeeded` if this release has no other
    version.
    """
    find_projection(name)
    with connection.transaction():
        lock_out_requests(connection, name)
        current = current_rebuild(connection, name)
        if current is None:
            return
        if current.version == live_version(connection, find_projection(name)):
            raise RebuildNeeded
        _end(connection, current, actor, reason)
    _log.info("rebuild cancelled", projection=name, version=current.version, actor=actor)


def _end(connection: Connection[Any], rebuild: Rebuild, actor: str, reason: str | None) -> None:
    wanted = {**_named(rebuild), "actor": actor, "reason": reason, "moves": moves("cancel")}
    if _SQL["end"].run(connection, wanted).rowcount:
        _SQL["retire"].run(connection, _named(rebuild))


def pause_rebuild(connection: Connection[Any], name: str, actor: str, reason: str | None = None) -> None:
    """Pause a rebuild. Idempotent. Raises `ProjectionNotFound`, then `RebuildNotUnderWay`."""
    _control(connection, name, "pause", actor, reason)


def resume_rebuild(connection: Connection[Any], name: str, actor: str, reason: str | None = None) -> None:
    """Resume a paused rebuild where it is. Idempotent. Raises as `pause_rebuild` does."""
    _control(connection, name, "resume", actor, reason)


def _control(connection: Connection[Any], name: str, action: Action, actor: str, reason: str | None) -> None:
    find_projection(name)
    with connection.transaction():
        lock_out_requests(connection, name)
        current = current_rebuild(connection, name)
        if current is None or not is_allowed(action, current.state):
            raise RebuildNotUnderWay
        wanted = {"actor": actor, "reason": reason, "moves": moves(action)}
        _SQL["control"].run(connection, {**_named(current), **wanted})
        state = TRANSITIONS[action][current.state]
    _log.info("rebuild controlled", projection=name, version=current.version, state=state, actor=actor)


def drop_cancelled(connection: Connection[Any]) -> None:
    """Drop the tables of cancelled rebuilds. Tables that are still being written are left for the next time."""
    for name, version in _SQL["cancelled"].rows(connection):
        try:
            drop_version(connection, name, version)
        except psycopg.errors.LockNotAvailable:
            _log.info("cancelled version is still in use", projection=name, version=version)


def current_rebuild(connection: Connection[Any], name: str) -> Rebuild | None:
    """Return the unended rebuild of a projection, in this release's shape; None if there is none."""
    found = _rebuilds(connection, [find_projection(name)])
    return found[0] if found else None


def current_rebuilds(
    connection: Connection[Any], projections: Collection[Projection] | None = None
) -> list[Rebuild]:
    """Return the unended rebuilds of all projections, or of those given, by name."""
    return _rebuilds(connection, PROJECTIONS.values() if projections is None else projections)


def find_rebuild(connection: Connection[Any], name: str, version: int) -> Rebuild:
    """Return one rebuild, ended or not. Raises `ProjectionNotFound`, then `LookupError` if there is no such version."""
    return find_rebuilds(connection, [(name, version)])[0]


def find_rebuilds(connection: Connection[Any], versions: Sequence[tuple[str, int]]) -> list[Rebuild]:
    """Return rebuilds by their names and versions, in this order; raises what `find_rebuild` raises."""
    found = _rebuilds(connection, [find_projection(name) for name, _ in versions], dict(versions))
    by_version = {(rebuild.name, rebuild.version): rebuild for rebuild in found}
    return [by_version[version] for version in versions]


def _rebuilds(
    connection: Connection[Any],
    projections: Collection[Projection],
    versions: Mapping[str, int] | None = None,
) -> list[Rebuild]:
    wanted = {
        "names": [projection.name for projection in projections],
        "shapes": [projection.shape for projection in projections],
        "versions": [(versions or {}).get(projection.name) for projection in projections],
        "rate_seconds": RATE_SECONDS,
    }
    return [_rebuild(row) for row in _SQL["of_versions"].rows(connection, wanted)]


def _rebuild(row: TupleRow) -> Rebuild:
    *before, comparison, ended_at = row
    compared = tuple(TableComparison.of(members) for members in from_json(comparison or "[]"))
    return Rebuild._make([*before, compared, ended_at])


def _named(rebuild: Rebuild) -> dict[str, Any]:
    return {"name": rebuild.name, "version": rebuild.version}
