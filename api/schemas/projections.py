"""How far a projection is, as it is shown."""

from typing import Any, Literal

from typing_extensions import TypedDict

from projections.positions import Progress


class ProjectionBody(TypedDict):
    """A projection; `rebuild` is null unless a new version of it is being made."""

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
    rebuild: dict[str, Any] | None


def projection_body(progress: Progress) -> dict[str, Any]:
    """Return a projection as it is shown."""
    return {**progress._asdict(), "rebuild": None}
