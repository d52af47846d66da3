"""Pages of lists: how many rows to ask for, and whether another page follows."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from api.answers import HEAD, POSITION, Answer, json_answer
from api.endpoint import Asked

Row = TypeVar("Row")


def page(
    asked: Asked[Any, Any], rows: Sequence[Row], show: Callable[[Row], Any], place: Callable[[Row], Any]
) -> dict[str, Any]:
    """Return a page of what was found: one row more than the page holds says that another follows.

    `show` gives the form of an item, `place` what the next page comes after.
    """
    size = asked.query.page_size
    shown = rows[:size]
    more = len(rows) > size
    return {
        "data": [show(row) for row in shown],
        "next_cursor": asked.cursor_after(place(shown[-1])) if more else None,
    }


def projected_page(
    asked: Asked[Any, Any], found: Any, show: Callable[[Row], Any], place: Callable[[Row], Any]
) -> Answer:
    """Return the answer with a page of a projection, and the positions that it reflects."""
    body = page(asked, found.rows, show, place)
    return json_answer(200, body, {POSITION: str(found.position), HEAD: str(found.head)})
