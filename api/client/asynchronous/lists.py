"""Lists, page after page. A list includes everything that this ledger's calls were told of before it began."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from ..bodies import decode
from ..errors import HistoryLost, Unreachable
from ..history import Event
from ..problem import Unavailable
from .calls import Calls
from .concurrency import pause

T = TypeVar("T")
log = logging.getLogger("tallystick_client")

PAGE_SIZE = 100
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list."""

    data: tuple[T, ...]
    next_cursor: str | None


def page_of(shown: type[T], body: Any) -> Page[T]:
    """Return a page of an answer's body. Raises `ValueError` if it is none."""
    page: Page[Any] = decode(Page, body)
    return Page(tuple([decode(shown, item) for item in page.data]), page.next_cursor)


async def items(calls: Calls, path: str, shown: type[T], **filters: Any) -> AsyncIterator[T]:
    """Yield every item of a list. Raises `HistoryLost`, `Problem`, `Unreachable`."""
    asked = {"min_position": calls.position or None, "page_size": PAGE_SIZE, **filters}
    while True:
        page: Page[T] = (await calls.answer(partial(page_of, shown), path, **asked)).body
        for item in page.data:
            yield item
        if page.next_cursor is None:
            return
        asked["cursor"] = page.next_cursor


async def events(calls: Calls, after: int, follow: bool, **filters: Any) -> AsyncIterator[Event]:
    """Yield the events after a position, in their order. Raises `HistoryLost`, `Problem`, `Unreachable`.

    With `follow` it does not end: it waits for further events, and goes on where it was when the service comes back.
    """
    asked = {"page_size": PAGE_SIZE, **filters}
    if not follow:
        asked["min_position"] = calls.position or None
    while True:
        try:
            answer = await calls.answer(partial(page_of, Event), "events", after=after, **asked)
        except (Unreachable, Unavailable):
            if not follow:
                raise
            log.warning("the events after position %s cannot be read now", after)
            await pause(POLL_SECONDS)
            continue
        head = answer.number("ledger-head")
        if head is not None and head < after:
            raise HistoryLost(after, head)
        page: Page[Event] = answer.body
        for event in page.data:
            yield event
            after = event.position
        if page.next_cursor is None:
            if not follow:
                return
            # The filters leave nothing else up to here, so the next search begins here.
            after = max(after, answer.number("ledger-position") or 0)
            await pause(POLL_SECONDS)
