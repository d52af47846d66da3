"""Pausing and resuming a projection. The state is kept in the database, so it survives restarts.

A runner notices it within a quarter of a second. It writes nothing after the moment at which the pause is committed.
"""

from typing import Any, Literal, NamedTuple

import structlog
from psycopg import Connection

from domain.journal.queries import load
from domain.model.events import Context
from domain.model.times import Instant, instant
from projections.running.positions import Progress, progress

_SQL = load(__name__)
_log = structlog.get_logger(__name__)

_FORMER = {"paused": ["running", "halted"], "running": ["paused", "halted"]}


class Controlled(NamedTuple):
    """Who paused or resumed a projection, when and why. `state` is the one that it was set to."""

    state: Literal["paused", "running"]
    at: Instant
    by: str
    reason: str | None
    correlation_id: str


def newest_controls(connection: Connection[Any]) -> dict[str, Controlled]:
    """Return the newest control of each projection that was ever paused or resumed, by the projection's name."""
    rows = _SQL["newest"].rows(connection)
    return {
        name: Controlled(state, instant(at), actor, reason or None, correlation_id)
        for name, state, actor, reason, at, correlation_id in rows
    }


def pause(connection: Connection[Any], name: str, by: Context, reason: str = "") -> Progress:
    """Pause a projection; return how far it is. Idempotent. Raises `ProjectionNotFound`."""
    return _set(connection, name, "paused", by, reason)


def resume(connection: Connection[Any], name: str, by: Context, reason: str = "") -> Progress:
    """Resume a paused or halted projection; return how far it is. Idempotent.

    A halted projection meets the same event again, and halts again unless the cause was mended. Raises
    `ProjectionNotFound`.
    """
    return _set(connection, name, "running", by, reason)


def _set(
    connection: Connection[Any], name: str, state: Literal["paused", "running"], by: Context, reason: str
) -> Progress:
    with connection.transaction():
        wanted = {"name": name, "state": state, "from": _FORMER[state]}
        for version, position, former in _SQL["set"].rows(connection, wanted):
            row = {
                **wanted,
                "version": version,
                "position": position,
                "former": former,
                "actor": by.actor,
                "reason": reason,
                "correlation_id": by.correlation_id,
            }
            _SQL["record"].run(connection, row)
            _SQL["announce"].run(connection, row)
            _log.info("projection controlled", name=name, version=version, state=state, actor=by.actor)
        return progress(connection, name)
