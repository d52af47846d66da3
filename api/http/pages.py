"""Pages of lists: their items, and the cursor of the next page.

A page is bounded by bytes, not only by number: a thousand of the largest transactions would be hundreds of megabytes.
Where rows can be large, few more are read than fit (`projections.engine.live_version.read_rows`). The written bytes
decide.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from msgspec import Raw

from api.http.call import Call
from api.http.responses import DEAD_LETTERS, HEAD, POSITION, Answer, encoded, json_answer
from projections.engine.live_version import Page, Reading, ends_early

PAGE_BYTES = 4 * 1024**2
"""How large the items of a page may be together, unless it is one alone."""

Row = TypeVar("Row")


def page(
    call: Call[Any, Any], rows: Sequence[Row], show: Callable[[Row], Any], place: Callable[[Row], Any]
) -> dict[str, Any]:
    """Return a page of the rows found. One row more than the page holds means that another page follows.

    `show` returns the form of an item. `place` returns the place of a row, after which the next page begins. The page
    ends before the item that would make it larger than `PAGE_BYTES`, but holds at least one.
    """
    items = fitting(map(show, rows[: call.query.page_size]))
    more = len(rows) > len(items) or ends_early(rows)
    return {
        "data": items,
        "next_cursor": call.cursor_after(place(rows[len(items) - 1])) if more else None,
    }


def fitting(shown: Iterable[Any]) -> list[Raw]:
    """Return the items of a page as they are written, so many as fit."""
    items: list[Raw] = []
    size_bytes = 0
    for item in map(encoded, shown):
        size_bytes += len(item)
        if items and size_bytes > PAGE_BYTES:
            break
        items.append(Raw(item))
    return items


def projected_page(
    call: Call[Any, Any], found: Any, show: Callable[[Row], Any], place: Callable[[Row], Any]
) -> Answer:
    """Return an answer with a page of a projection, and the positions that it reflects."""
    return json_answer(200, page(call, found.rows, show, place), reflected(found))


def page_at_head(
    call: Call[Any, Any],
    found: Reading[Any],
    show: Callable[[Any], Any],
    place: Callable[[Any], Any],
) -> Answer:
    """Return an answer with a page of the rows found, and the position that they reflect."""
    return json_answer(200, page(call, found.found, show, place), reflected(found))


def reflected(found: Reading[Any] | Page[Any]) -> dict[str, str]:
    """Return the headers that say what a projection's answer reflects, and how many streams it lacks."""
    headers = {POSITION: str(found.position), HEAD: str(found.head)}
    if found.lacking.streams:
        headers[DEAD_LETTERS] = f"{found.lacking.streams}; oldest={found.lacking.oldest}"
    return headers
