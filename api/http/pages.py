"""Pages of lists: their items, and the cursor of the next page."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from api.http.endpoint import Call
from api.http.responses import DEAD_LETTERS, HEAD, POSITION, Answer, json_answer
from projections.engine.live_version import Page, Reading

Row = TypeVar("Row")


def page(
    call: Call[Any, Any], rows: Sequence[Row], show: Callable[[Row], Any], place: Callable[[Row], Any]
) -> dict[str, Any]:
    """Return a page of the rows found. One row more than the page holds means that another page follows.

    `show` returns the form of an item. `place` returns the place of a row, after which the next page begins.
    """
    size = call.query.page_size
    shown = rows[:size]
    more = len(rows) > size
    return {
        "data": [show(row) for row in shown],
        "next_cursor": call.cursor_after(place(shown[-1])) if more else None,
    }


def projected_page(
    call: Call[Any, Any], found: Any, show: Callable[[Row], Any], place: Callable[[Row], Any]
) -> Answer:
    """Return an answer with a page of a projection, and the positions that it reflects."""
    return json_answer(200, page(call, found.rows, show, place), reflected(found))


def reflected(found: Reading[Any] | Page[Any]) -> dict[str, str]:
    """Return the headers that say what a projection's answer reflects, and how many streams it lacks."""
    headers = {POSITION: str(found.position), HEAD: str(found.head)}
    if found.lacking.streams:
        headers[DEAD_LETTERS] = f"{found.lacking.streams}; oldest={found.lacking.oldest}"
    return headers
