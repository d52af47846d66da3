"""The plot: throughput and latency by the number of connections, as SVG.

It uses only the standard library: two line charts are too little for another dependency. A style sheet in the file lets
it follow a light or dark page.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, log2, log10
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from scripts.bench.report.comparisons import SWEPT_CONNECTIONS
from scripts.bench.report.figures import Figures, in_digits

WIDTH, HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 130, 44, 52
_INSET = 24
_FIGURE_HEIGHT = 11
_STYLE = """
svg { color-scheme: light dark; --ink: #1f2328; --paper: #ffffff; --grid: #d1d9e0;
  --line-0: #0969da; --line-1: #bc4c00; --line-2: #6e7781; --line-3: #8250df }
@media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --paper: #0d1117; --grid: #30363d;
  --line-0: #58a6ff; --line-1: #f0883e; --line-2: #8b949e; --line-3: #d2a8ff } }
text { font: 12px system-ui, sans-serif; fill: var(--ink) }
.title { font-size: 15px; font-weight: 600 }
.figure { font-size: 10px }
.paper { fill: var(--paper) }
.grid { stroke: var(--grid) }
polyline { fill: none; stroke-width: 2 }
"""


Scale = Callable[[float], float]
"""Returns the coordinate of a value."""


class Line(NamedTuple):
    """A line of a chart: its name, and a value for each number of connections."""

    name: str
    values: Mapping[int, float]


class Chart(NamedTuple):
    """A chart: its title, the quantity and unit of its axis, and its lines. The axis may be logarithmic."""

    title: str
    axis: str
    lines: Sequence[Line]
    logarithmic: bool = False


def charts(figures: Mapping[str, Figures]) -> list[Chart]:
    """Return the charts of the concurrency stage."""
    rates = [
        Line(shown, {count: figures[f"{name}-{count}"].median for count in SWEPT_CONNECTIONS})
        for name, shown in (
            ("http", "uniform"),
            ("http-hot", "one hot account"),
            ("bare-route", "bare route"),
        )
    ]
    latencies = [
        Line(f"p{share} {shown}", _details(figures, name, f"p{share}_milliseconds"))
        for name, shown in (("http", "uniform"), ("http-hot", "hot"))
        for share in (50, 99)
    ]
    return [
        Chart("Single transfers over HTTP", "requests per second", rates),
        Chart("How long an answer takes", "milliseconds (logarithmic)", latencies, logarithmic=True),
    ]


def _details(figures: Mapping[str, Figures], name: str, detail: str) -> dict[int, float]:
    found = {count: figures[f"{name}-{count}"].detail(detail) for count in SWEPT_CONNECTIONS}
    return {count: value for count, value in found.items() if value is not None}


def plot(figures: Mapping[str, Figures], circumstances: str) -> str:
    """Return the plot of the concurrency stage as SVG, with the circumstances below it."""
    shown = charts(figures)
    height = HEIGHT * len(shown) + 24
    svg = Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
    )
    SubElement(svg, "title").text = "; ".join(chart.title for chart in shown)
    SubElement(svg, "style").text = _STYLE
    SubElement(svg, "rect", {"class": "paper", "width": "100%", "height": "100%"})
    for number, chart in enumerate(shown):
        _draw(SubElement(svg, "g", transform=f"translate(0 {number * HEIGHT})"), chart)
    _write(svg, circumstances, WIDTH / 2, height - 10)
    indent(svg)
    return tostring(svg, encoding="unicode")


def _draw(group: Element, chart: Chart) -> None:
    across = _scale(log2, min(SWEPT_CONNECTIONS), max(SWEPT_CONNECTIONS), _LEFT + _INSET, WIDTH - _RIGHT)
    ticks = _ticks(chart)
    axis: Scale = log10 if chart.logarithmic else float
    up = _scale(axis, ticks[0], ticks[-1], HEIGHT - _BOTTOM, _TOP)
    _write(group, chart.title, WIDTH / 2, 22, **{"class": "title"})
    _write(group, "connections", (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 14)
    _write(group, chart.axis, 0, 0, transform=f"translate(16 {(HEIGHT + _TOP - _BOTTOM) / 2}) rotate(-90)")
    for tick in ticks:
        ends = {"x1": f"{_LEFT}", "x2": f"{WIDTH - _RIGHT}", "y1": f"{up(tick):.1f}", "y2": f"{up(tick):.1f}"}
        SubElement(group, "line", {"class": "grid", **ends})
        _write(group, f"{tick:,g}", _LEFT - 8, up(tick) + 4, **{"text-anchor": "end"})
    for connections in SWEPT_CONNECTIONS:
        _write(group, str(connections), across(connections), HEIGHT - _BOTTOM + 18)
    for number, line in enumerate(chart.lines):
        _draw_line(group, line, number, across, up)
    for connections in SWEPT_CONNECTIONS:
        values = [line.values[connections] for line in chart.lines if connections in line.values]
        _write_figures(group, across(connections), values, up)
    _name_lines(group, chart, up)


def _draw_line(group: Element, line: Line, number: int, across: Scale, up: Scale) -> None:
    colour = f"var(--line-{number})"
    places = [(across(count), up(value)) for count, value in line.values.items()]
    SubElement(
        group, "polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places), style=f"stroke: {colour}"
    )
    for (x, y), (count, value) in zip(places, line.values.items(), strict=True):
        point = SubElement(group, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3", style=f"fill: {colour}")
        SubElement(point, "title").text = f"{line.name}, {count} connections: {in_digits(value)}"


def _write_figures(group: Element, x: float, values: Sequence[float], up: Scale) -> None:
    """Write the values at one number of connections above their points, or below where two would overlap."""
    last = float(-_FIGURE_HEIGHT)
    for value in sorted(values, reverse=True):
        above, below = up(value) - 7, max(up(value) + 14, last + _FIGURE_HEIGHT)
        last = above if above >= last + _FIGURE_HEIGHT else below
        _write(group, in_digits(value), x, last, **{"class": "figure"})


def _name_lines(group: Element, chart: Chart, up: Scale) -> None:
    """Write the name of each line at its end, one below the other where two would overlap."""
    below = 0.0
    ends = sorted((up(line.values[max(line.values)]), number) for number, line in enumerate(chart.lines))
    for end, number in ends:
        below = max(end + 4, below + 15)
        style = {"text-anchor": "start", "style": f"fill: var(--line-{number})"}
        _write(group, chart.lines[number].name, WIDTH - _RIGHT + 22, below, **style)


def _ticks(chart: Chart) -> list[float]:
    """Return the values of the grid lines, from just below the lowest value shown to just above the highest."""
    values = [value for line in chart.lines for value in line.values.values()]
    if chart.logarithmic:
        return [10.0**power for power in range(floor(log10(min(values))), ceil(log10(max(values))) + 1)]
    step = 10.0 ** floor(log10(max(values)))
    step = next(part for part in (step / 5, step / 2, step, 2 * step) if max(values) / part <= 8)
    return [step * number for number in range(ceil(max(values) / step) + 1)]


def _scale(axis: Scale, low: float, high: float, first: float, last: float) -> Scale:
    length = axis(high) - axis(low)
    return lambda value: first + (last - first) * (axis(value) - axis(low)) / length


def _write(parent: Element, text: str, x: float, y: float, **attributes: str) -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": "middle", **attributes}
    SubElement(parent, "text", place).text = text
