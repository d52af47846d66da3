"""Where live versions stand and how they failed: what whoever advances them reads and writes about them."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from psycopg import Connection

from domain.journal.encoding import NewerVersion
from domain.journal.outage import is_lost
from domain.journal.queries import load
from domain.journal.silence import LOST
from projections.engine.poison import describe
from projections.engine.projection import Projection

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class LiveStanding(NamedTuple):
    """The position and state of a projection's live version, and the head of the journal."""

    version: int
    position: int
    state: str
    runner: UUID | None
    last_error: str | None
    head: int

    @property
    def lag_events(self) -> int:
        """How many events it has not projected yet."""
        return self.head - self.position

    @property
    def needs_newer_release(self) -> bool:
        """Whether a release that could not read the next event halted it."""
        return self.state == "halted" and (self.last_error or "").startswith(f"{NewerVersion.reason}:")


def prepare_session(connection: Connection[Any]) -> None:
    """Make a session fit for advancing versions."""
    _SQL["session"].run(connection)


def standings(connection: Connection[Any], projections: Sequence[Projection]) -> dict[str, LiveStanding]:
    """Return where the live version of each projection stands, by name, all at one instant.

    Raises `LookupError` if one of them is not installed.
    """
    wanted = {
        "names": [projection.name for projection in projections],
        "shapes": [projection.shape for projection in projections],
    }
    rows = _SQL["standings"].rows(connection, wanted, prepare=True)
    found = {name: LiveStanding(*rest) for name, *rest in rows}
    for projection in projections:
        if projection.name not in found:
            raise LookupError(f"projection {projection.name} is not installed")
    return found


def record_error(connection: Connection[Any], names: Collection[str], runner: UUID, error: Exception) -> None:
    """Keep the failure of a runner with the live versions that it advances, if the database can be reached."""
    wanted = {"names": list(names), "runner": runner, "error": describe(error)}
    try:
        _SQL["record_error"].run(connection, wanted)
    except LOST as lost:
        if not is_lost(lost):
            _log.warning("error could not be recorded", projections=sorted(names))


def clear_error(connection: Connection[Any], name: str, version: int, runner: UUID) -> None:
    """Forget the failure of a version that has nothing to project, so that no advance will clear it."""
    _SQL["clear_error"].run(connection, {"name": name, "version": version, "runner": runner})
