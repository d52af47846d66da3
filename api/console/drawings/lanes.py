"""Lanes: a story on one axis of time, a lane for each side that took part. Marks are placed, and nothing is drawn.

Milliseconds and days stand on one axis, so longer pauses are wider but not in proportion: their width grows with the
logarithm.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import log10
from typing import NamedTuple

from api.console.formats import offset
from api.console.timelines import LANES, Lane, Told
from projections.diagnosis.glossary import Tone

WIDTH = 1000
LANE_HEIGHT = 46
TOP = 26
LEFT = 110
RIGHT = 820
NOT_YET = 900
"""Where marks stand whose time is unknown or still to come."""

_MARK = 18
_TICK = 82
_WORST: tuple[Tone, ...] = ("calm", "good", "wait", "doubt", "bad")
GLYPHS: dict[Tone, str] = {"calm": "·", "good": "✓", "wait": "…", "doubt": "?", "bad": "!"}
"""What stands in a mark, so that its colour is not needed to read it."""


class Mark(NamedTuple):
    """A mark in a lane for one or more moments. Its tone is the worst of theirs, its words are those of all."""

    x: int
    y: int
    tone: Tone
    glyph: str
    number: int
    words: str


class Tick(NamedTuple):
    """A place of the axis, in words: how long after the first moment."""

    x: int
    words: str


class Row(NamedTuple):
    """A lane: its name, and the height of its middle."""

    name: Lane
    y: int


class Lanes(NamedTuple):
    """A drawing of a story. `path` leads from mark to mark in the order of time, as points of an SVG polyline."""

    height: int
    rows: list[Row]
    marks: list[Mark]
    ticks: list[Tick]
    path: str
    not_yet: int | None


def lanes(moments: Sequence[Told]) -> Lanes:
    """Return the lanes of a story. Lanes without a moment are left out."""
    rows = [
        Row(name, TOP + LANE_HEIGHT // 2 + LANE_HEIGHT * place)
        for place, name in enumerate(name for name in LANES if any(of.lane == name for of in moments))
    ]
    heights = {row.name: row.y for row in rows}
    places = _places([of.after_seconds for of in moments if of.after_seconds is not None])
    placed = [
        (NOT_YET if of.after_seconds is None else places[of.after_seconds], heights[of.lane], of)
        for of in moments
    ]
    marks = list(_marks(placed))
    path = [f"{mark.x},{mark.y}" for mark in marks if mark.x != NOT_YET]
    return Lanes(
        TOP + LANE_HEIGHT * len(rows) + 24,
        rows,
        marks,
        list(_ticks(places)),
        " ".join(path),
        NOT_YET if any(mark.x == NOT_YET for mark in marks) else None,
    )


def _places(seconds: Sequence[float]) -> dict[float, int]:
    """Return where each time stands on the axis."""
    times = sorted(set(seconds))
    if not times:
        return {}
    widths = [1 + log10(1 + (later - earlier) * 1000) for earlier, later in pairwise(times)]
    # Few moments stand close together rather than far apart.
    scale = min((RIGHT - LEFT) / sum(widths), 90.0) if widths else 0.0
    places, x = {times[0]: LEFT}, float(LEFT)
    for time, width in zip(times[1:], widths, strict=True):
        x += width * scale
        places[time] = round(x)
    return places


def _marks(placed: Sequence[tuple[int, int, Told]]) -> Iterator[Mark]:
    """Yield marks from left to right. Moments of one lane that would overlap share one."""
    shared: list[tuple[int, int, list[Told]]] = []
    last: dict[int, int] = {}
    for x, y, of in sorted(placed, key=lambda each: each[0]):
        at = last.get(y)
        if at is not None and x - shared[at][0] < _MARK:
            shared[at][2].append(of)
        else:
            last[y] = len(shared)
            shared.append((x, y, [of]))
    for x, y, moments in shared:
        tone = max((of.tone for of in moments), key=_WORST.index)
        words = "; ".join(f"{of.what}: {of.words}" for of in moments[:5])
        more = f"; and {len(moments) - 5} more" if len(moments) > 5 else ""
        yield Mark(x, y, tone, GLYPHS[tone], sum(of.number for of in moments), words + more)


def _ticks(places: dict[float, int]) -> Iterator[Tick]:
    free_from = 0
    for seconds, x in sorted(places.items()):
        if x >= free_from:
            yield Tick(x, offset(seconds) if seconds else "begin")
            free_from = x + _TICK
