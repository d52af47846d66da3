"""A balance over time: the line of what is known of every moment, and dots where it was only read now and then."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from domain.model.times import Instant, moment

WIDTH, HEIGHT, MARGIN = 720, 160, 8


class Point(NamedTuple):
    """The balance from a time on, in minor units."""

    at: Instant
    balance: int


class Level(NamedTuple):
    """A balance that is marked across the chart, such as a limit."""

    name: str
    balance: int
    y: float


class Chart(NamedTuple):
    """A chart as it is drawn: `line` and `dots` in its own units, and the balances and times at its edges.

    `mark` is where the moment shown stands, None if it is outside.
    """

    line: str
    dots: Sequence[tuple[float, float]]
    levels: Sequence[Level]
    highest: int
    lowest: int
    begins: Instant
    ends: Instant
    mark: float | None


def drawn(
    steps: Sequence[Point],
    readings: Sequence[Point],
    until: Instant,
    levels: Mapping[str, int | None],
    marked: Instant | None = None,
) -> Chart | None:
    """Return the chart of a balance, None if there is nothing to draw.

    `steps` are all changes of a span of time, in order: between two of them the balance stood still. `readings` are
    single balances before them. `levels` are drawn if they are near.
    """
    points = [*readings, *steps]
    if not points:
        return None
    low, high = (edge(0, *(point.balance for point in points)) for edge in (min, max))
    room = max(high - low, 1) // 4
    near = {
        name: balance
        for name, balance in levels.items()
        if balance is not None and low - room <= balance <= high + room
    }
    low, high = min(low, *near.values(), 0), max(high, *near.values(), 0)
    begins, ends = points[0].at, max(until, points[-1].at)
    across = _scale(moment(begins).timestamp(), moment(ends).timestamp(), 0, WIDTH)
    down = _scale(low, high, HEIGHT - MARGIN, MARGIN)

    def place(point: Point) -> tuple[float, float]:
        return across(moment(point.at).timestamp()), down(point.balance)

    return Chart(
        _stairs([place(point) for point in steps], WIDTH),
        [place(point) for point in readings],
        [Level(name, balance, down(balance)) for name, balance in {"zero": 0, **near}.items()],
        high,
        low,
        begins,
        ends,
        across(moment(marked).timestamp()) if marked and begins <= marked <= ends else None,
    )


def steps_of(entries: Sequence[Mapping[str, Any]], clock: str, normal_side: str) -> list[Point]:
    """Return the steps that a part of a statement is, oldest first. The first is the balance before its first entry."""
    if not entries:
        return []
    first = entries[0]
    change = first["amount"] if first["direction"] == normal_side else -first["amount"]
    time = f"{clock}_at"
    before = Point(first[time], first["balance_after"] - change)
    return [before, *(Point(entry[time], entry["balance_after"]) for entry in entries)]


def _stairs(places: Sequence[tuple[float, float]], end: float) -> str:
    corners: list[tuple[float, float]] = []
    for x, y in places:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    if corners:
        corners.append((end, corners[-1][1]))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def _scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    """Return the function that places a figure: `low` at `first`, and `high` at `last`."""
    span = high - low

    def place(figure: float) -> float:
        part = (figure - low) / span if span else 0.5
        return round(first + part * (last - first), 1)

    return place
