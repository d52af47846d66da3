"""Lists, page after page. A list includes everything that this ledger's calls were told of before it began."""

import logging
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from ..bodies import decode
from ..errors import Unreachable
from ..history import Event
from ..problem import Unavailable
from .calls import Calls
from .concurrency import pause

T = TypeVar("T")
log = logging.getLogger("tallystick_client")

PAGE_SIZE = 100
POLL_SECONDS = 0.2


async def items(calls: Calls, path: str, shown: type[T], **filters: Any) -> AsyncIterator[T]:
    """Yield every item of a list. Raises `Problem`, `Unreachable`."""
    asked = {"min_position": calls.position or None, "page_size": PAGE_SIZE, **filters}
    while True:
        page = await calls.read(path, **asked)
        for item in page["data"]:
            yield decode(shown, item)
        if page["next_cursor"] is None:
            return
        asked["cursor"] = page["next_cursor"]


async def events(calls: Calls, after: int, follow: bool, **filters: Any) -> AsyncIterator[Event]:
    """Yield the events after a position, in their order.

    With `follow` it does not end: it waits for further events, and goes on where it was when the service comes back.
    """
    while True:
        page = None
        try:
            page = await calls.read("events", after=after, page_size=PAGE_SIZE, **filters)
        except (Unreachable, Unavailable):
            if not follow:
                raise
            log.warning("the events after position %s cannot be read now", after)
        for item in page["data"] if page else ():
            event = decode(Event, item)
            yield event
            after = event.position
        if page is None or page["next_cursor"] is None:
            if not follow:
                return
            await pause(POLL_SECONDS)
