"""The report: a table for people, and JSON with every single figure for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from scripts.bench.report.comparisons import LIMITS, ContestantComparison, Limit
from scripts.bench.report.figures import Figures, in_digits
from scripts.bench.workloads.books import Books

_GROWING = (
    ("events_per_second", " since the size before"),
    ("account_milliseconds", ", the long stream"),
    ("old_transaction_milliseconds", ""),
    ("new_transaction_milliseconds", ""),
)


def table(comparisons: Sequence[ContestantComparison], figures: Mapping[str, Figures]) -> Table:
    """Return the table of comparisons: medians of all rounds, their spread, the ratio of the medians, and the bar."""
    shown = Table(title="Medians of all rounds (lowest–highest)", box=SIMPLE)
    for column in ("workload", "rate", "p50\np99 ms", "yardstick", "rate", "ratio", "to reach", ""):
        shown.add_column(column, no_wrap=True)
    for comparison in comparisons:
        shown.add_row(*_row(comparison, figures))
    return shown


def _row(comparison: ContestantComparison, figures: Mapping[str, Figures]) -> tuple[str, ...]:
    _, workload, yardstick, bar = comparison
    score = comparison.score(figures)
    against = figures[yardstick] if yardstick else None
    reached = "" if bar is None else "reached" if score >= bar else "[bold red]missed[/]"
    wanted = "–" if bar is None else f"≥ {round(bar, 2):,g}"
    return (
        _name(figures[workload]),
        _rate(figures[workload]),
        _latency(figures[workload]),
        _name(against) if against else "–",
        _rate(against) if against else "–",
        f"{score:.2f}" if against else "–",
        wanted,
        reached,
    )


def _name(figures: Figures) -> str:
    return f"{figures.name}\n{figures.unit}"


def _rate(figures: Figures) -> str:
    return f"{figures.median:,.0f}\n({min(figures.rates):,.0f}–{max(figures.rates):,.0f})"


def _latency(figures: Figures) -> str:
    half, most = (figures.detail(f"p{share}_milliseconds") for share in (50, 99))
    return "–" if half is None or most is None else f"{in_digits(half)}\n{in_digits(most)}"


def growth_table(milestones: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of a growing journal's milestones."""
    shown = Table(title="A journal that grows", box=SIMPLE)
    shown.add_column("")
    for milestone in milestones:
        shown.add_column(f"{milestone['events']:,} events", justify="right")
    for name, unit in _GROWING:
        shown.add_row(f"{name.replace('_', ' ')}{unit}", *(in_digits(one[name]) for one in milestones))
    for relation in milestones[-1]["bytes_per_event"]:
        of_each = (one["bytes_per_event"].get(relation, 0.0) for one in milestones)
        shown.add_row(f"bytes per event in {relation}", *(f"{size:,.1f}" for size in of_each))
    return shown


def limits(figures: Mapping[str, Figures]) -> list[Limit]:
    """Return the limits that apply to these figures."""
    return [limit for limit in LIMITS if limit.workload in figures]


def limit_line(limit: Limit, figures: Mapping[str, Figures]) -> str:
    """Return one line that says whether a limit was kept."""
    most = limit.most(figures)
    kept = "kept" if most < limit.below else "[bold red]broken[/]"
    return f"{limit.workload}: {limit.detail} {most:,.0f}, to stay below {limit.below:,g}: {kept}."


def document(
    comparisons: Sequence[ContestantComparison],
    figures: Mapping[str, Figures],
    books: Mapping[str, Books],
    milestones: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the same figures as JSON, with every reading of every round."""
    return {
        "comparisons": [_comparison(comparison, figures) for comparison in comparisons],
        "limits": [_limit(limit, figures) for limit in limits(figures)],
        "figures": {name: _figures(found) for name, found in figures.items()},
        "books": {stage: found._asdict() for stage, found in books.items()},
        "growth": list(milestones),
    }


def _comparison(comparison: ContestantComparison, figures: Mapping[str, Figures]) -> dict[str, Any]:
    score, bar = comparison.score(figures), comparison.bar
    return {
        "stage": comparison.stage,
        "workload": comparison.workload,
        "yardstick": comparison.yardstick,
        "measure": "ratio of medians" if comparison.yardstick else figures[comparison.workload].unit,
        "value": score,
        "bar": bar,
        "reached": None if bar is None else score >= bar,
    }


def _limit(limit: Limit, figures: Mapping[str, Figures]) -> dict[str, Any]:
    most = limit.most(figures)
    return {**limit._asdict(), "value": most, "kept": most < limit.below}


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "unit": figures.unit,
        "median": figures.median,
        "lowest": min(figures.rates),
        "highest": max(figures.rates),
        "rounds": [
            {"rate": reading.rate, "units": reading.units, "seconds": reading.seconds, **reading.details}
            for reading in figures.readings
        ],
    }
