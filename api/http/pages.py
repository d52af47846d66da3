"""Pages of lists: how many rows to ask for, and whether another page follows."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from api.http.endpoint import Call
from api.http.responses import DEAD_LETTERS, HEAD, POSITION, Answer, json_answer
from projections.engine.live_version import Page, Reading

Row = TypeVar("Row")


def page(
    call: Call[Any, Any], rows: Sequence[Row], show: Callable[[Row], Any], place: Callable[[Row], Any]
) -> dict[str, Any]:
    """Return a page of what was found: one row more than the page holds says that another follows.

    `show` gives the form of an item, `place` what the next page comes after.
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
    """Return the answer with a page of a projection, and the positions that it reflects."""
    return json_answer(200, page(call, found.rows, show, place), reflected(found))


def reflected(found: Reading[Any] | Page[Any]) -> dict[str, str]:
    """Return the headers that say what an answer from a projection reflects, and what it lacks."""
    headers = {POSITION: str(found.position), HEAD: str(found.head)}
    if found.lacking.streams:
        headers[DEAD_LETTERS] = f"{found.lacking.streams}; oldest={found.lacking.oldest}"
    return headers
