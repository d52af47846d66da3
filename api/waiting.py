"""Reading a projection that is to reflect a position, waiting for it as long as the request prefers."""

from collections.abc import Callable
from typing import Any, TypeVar

from psycopg import Connection

from api.endpoint import Asked
from domain.errors import ProjectionBehind
from projections.live import Page, Reading

Found = TypeVar("Found", Page[Any], Reading[Any])


async def read_projection(
    asked: Asked[Any, Any], name: str, read: Callable[[Connection[Any]], Found]
) -> Found:
    """Return what a projection says once it reflects the `min_position` that the request names, if it names one.

    Raises `ProjectionBehind` if it does not in time: what is stale is never passed off as what was asked for.
    """
    position = asked.query.min_position
    if position is None:
        return await asked.service.query(read)
    seen = await asked.service.waiter.reached(name, position, asked.prefer.wait_seconds)
    found = await asked.service.query(read)
    if found.position < position:
        raise ProjectionBehind(found.position, found.head, seen.state)
    return found
