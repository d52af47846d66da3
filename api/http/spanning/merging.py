"""Merges the lists of several installations into one, page by page, without I/O.

Every installation gives its rows in the same order. A cursor holds the place that was reached in each of them, so
nothing is left out and nothing comes twice, whichever of them answered for a page. The list stands still in one that
could not answer, and goes on there when it answers.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

Row = TypeVar("Row")

Places = Mapping[str, Any]
"""The place after which each installation's next row comes, by name. One that is missing stands at its beginning."""


class Part(NamedTuple, Generic[Row]):
    """The next rows of an installation, in order, and whether it has others behind them."""

    rows: Sequence[Row]
    ends_early: bool


def merged(
    parts: Mapping[str, Part[Row]], place: Callable[[Row], Any], *, descending: bool
) -> Iterator[tuple[str, Row]]:
    """Yield the rows of all parts in the order of their places, each with the name of its installation.

    Rows at equal places come in the order of the parts. It ends with the last row of a part that has others behind it:
    those may come before what is left of the other parts.
    """
    left = {name: len(part.rows) for name, part in parts.items()}
    if any(part.ends_early and not part.rows for part in parts.values()):
        return
    lists = [[(name, row) for row in part.rows] for name, part in parts.items()]
    for name, row in heapq.merge(*lists, key=lambda named: place(named[1]), reverse=descending):
        yield name, row
        left[name] -= 1
        if not left[name] and parts[name].ends_early:
            return


def places_after(
    before: Places, shown: Iterable[tuple[str, Row]], place: Callable[[Row], Any]
) -> dict[str, Any]:
    """Return the place in each installation once these rows were shown."""
    return {**before, **{name: place(row) for name, row in shown}}


def is_more(parts: Mapping[str, Part[Any]], shown: int, unanswered: Collection[str]) -> bool:
    """Tell whether another page may have rows, once so many rows of the parts were shown."""
    known = sum(len(part.rows) for part in parts.values())
    return bool(unanswered) or known > shown or any(part.ends_early for part in parts.values())
