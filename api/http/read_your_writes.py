"""Reading a projection that is to reflect a position, waiting for it as long as the request prefers."""

from collections.abc import Callable
from typing import Any, TypeVar

from psycopg import Connection

from api.http.endpoint import Call
from projections.engine.live_version import Page, Reading
from projections.errors import ProjectionBehind

Found = TypeVar("Found", Page[Any], Reading[Any])


async def read_projection(call: Call[Any, Any], name: str, read: Callable[[Connection[Any]], Found]) -> Found:
    """Return what a projection says once it reflects the `min_position` that the request names, if it names one.

    Raises `ProjectionBehind` if it does not in time, and also if what is asked of one account is known to be held
    behind a dead letter at that position or before it: what is stale is never passed off as what was asked for. What of
    a list is held is stated with the answer. Raises `JournalUnavailable` if it is not known how far the projection is.
    """
    position = call.query.min_position
    if position is None:
        return await call.service.look_up(read)
    seen = (await call.service.waiter.wait_async(name, position, call.prefer.wait_seconds)).arrived()
    found = await call.service.look_up(read)
    if found.position < position:  # another version is live since
        raise ProjectionBehind(found.position, found.head, seen.state)
    if found.lacking.held_from is not None and found.lacking.held_from <= position:
        raise held_back(found, seen.state)
    return found


def held_back(found: Reading[Any] | Page[Any], state: str = "running") -> ProjectionBehind:
    """Return the refusal of a read of what is held behind a dead letter."""
    held_from = found.lacking.held_from
    assert held_from is not None
    return ProjectionBehind(held_from - 1, found.head, state, str(found.lacking.held))
