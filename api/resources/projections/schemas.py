"""Projections and rebuilds: requests and answers."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from api.http.fields import InstallationName, InstallationQuery, ListQuery, OptionalReason
from api.http.models.choices import ProjectionState
from api.http.models.formats import Instant
from domain.model.times import instant
from projections.diagnosis.glossary import meanings
from projections.rebuilding import transitions
from projections.rebuilding.requests import Rebuild
from projections.rebuilding.unread_versions import UnreadVersion
from projections.running.controls import Controlled
from projections.running.positions import Progress

RebuildState = TypeAliasType(
    "RebuildState", Annotated[transitions.RebuildState, Field(description=meanings("rebuild"))]
)
UnreadVersionState = TypeAliasType(
    "UnreadVersionState", Literal["running", "paused", "halted", "rebuilding", "retired"]
)
ControlState = TypeAliasType("ControlState", Literal["paused", "running"])


class ProjectionsQuery(ListQuery, InstallationQuery):
    """The list of projections, by name."""


class RebuildRequest(OptionalReason):
    """Why a projection is rebuilt, and why it goes live even if it differs. Both are optional and kept."""

    accept_difference: Annotated[
        str | None, Field(pattern=r"\S", max_length=500, examples=["the disk was bad"])
    ] = None


class RebuildComparisonBody(TypedDict):
    """A table of the live version compared with the rebuilt one. `differing` lists rows that only one of them has."""

    live_table: str
    rebuilt_table: str
    live_rows: int
    rebuilt_rows: int
    live_checksum: str
    rebuilt_checksum: str
    differing: list[str]
    equal: bool


class RebuildBody(TypedDict):
    """A version that is being built: its progress, its rate, and the time it still needs.

    `position` of `target` events are projected. The target is the live version's position, or the head of the journal
    if this release has no live version. `controlled_by` is who last paused or resumed the rebuild. `differing` means
    that it was compared with the live version and is not equal: it is kept for inspection until it is accepted,
    requested again or cancelled. `comparison` is null until something was compared.
    """

    version: int
    state: RebuildState
    position: int
    target: int
    rate_events_per_second: float
    seconds_left: float | None
    started_at: Instant | None
    requested_at: Instant
    requested_by: str
    reason: str | None
    accept_difference: str | None
    accepted_by: str | None
    controlled_by: str | None
    control_reason: str | None
    last_error: str | None
    compared_position: int | None
    difference_expected: str | None
    comparison: list[RebuildComparisonBody] | None


class UnreadVersionBody(TypedDict):
    """A version that this release does not read: it was replaced, or belongs to other releases."""

    version: int
    shape: int
    state: UnreadVersionState
    position: int


class ProjectionControlBody(TypedDict):
    """Who last paused or resumed a projection, when and why."""

    state: ControlState
    at: Instant
    by: str
    reason: str | None
    correlation_id: str


class ProjectionBody(TypedDict):
    """A projection. `rebuild` is null unless a new version is being built, `controlled` if nobody ever paused it.

    `dead_letters` counts the open ones. `oldest_dead_letter` is the lowest position among them, or null.
    """

    name: str
    version: int
    state: ProjectionState
    position: int
    head: int
    lag_events: int
    lag_seconds: float
    rate_events_per_second: float
    dead_letters: int
    last_error: str | None
    oldest_dead_letter: int | None
    dead_letter_age_seconds: float
    rebuild: RebuildBody | None
    unread_versions: list[UnreadVersionBody]
    controlled: ProjectionControlBody | None
    installation: NotRequired[InstallationName]


def projection_body(
    progress: Progress,
    rebuild: Rebuild | None,
    unread: Iterable[UnreadVersion],
    controlled: Controlled | None,
) -> dict[str, Any]:
    """Return the body for a projection."""
    return {
        **progress._asdict(),
        "rebuild": None if rebuild is None else _rebuild_body(rebuild),
        "unread_versions": [
            {member: getattr(other, member) for member in UnreadVersionBody.__annotations__}
            for other in unread
        ],
        "controlled": controlled and controlled._asdict(),
    }


def _rebuild_body(rebuild: Rebuild) -> dict[str, Any]:
    compared = [
        {**comparison._asdict(), "differing": list(comparison.differing), "equal": comparison.equal}
        for comparison in rebuild.comparisons
    ]
    made = {
        "started_at": None if rebuild.started_at is None else instant(rebuild.started_at),
        "requested_at": instant(rebuild.requested_at),
        "comparison": compared or None,
    }
    return {
        member: made[member] if member in made else getattr(rebuild, member)
        for member in RebuildBody.__annotations__
    }
