"""How far a projection is, as it is shown."""

from typing import Any, Literal

from typing_extensions import TypedDict

from api.schemas.common import Reasoned
from projections.positions import Progress


class Control(Reasoned):
    """Why a projection is paused or resumed, if that is to be kept."""


class ProjectionBody(TypedDict):
    """A projection; `rebuild` is null unless a new version of it is being made.

    `dead_letters` counts those that are open; `oldest_dead_letter` is the lowest position of them, or null.
    """

    name: str
    version: int
    state: Literal["running", "paused", "halted", "rebuilding"]
    position: int
    head: int
    lag_events: int
    lag_seconds: float
    rate_events_per_second: float
    dead_letters: int
    last_error: str | None
    oldest_dead_letter: int | None
    dead_letter_age_seconds: float
    rebuild: dict[str, Any] | None


def projection_body(progress: Progress) -> dict[str, Any]:
    """Return a projection as it is shown."""
    return {**progress._asdict(), "rebuild": None}
