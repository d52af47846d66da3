"""The report: a table for people, and JSON with every single figure for programs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.box import SIMPLE
from rich.table import Table

from scripts.bench.meters.disk_space import INDEXES, JOURNAL, READ_MODELS, DiskSpace
from scripts.bench.report.comparisons import ContestantComparison
from scripts.bench.report.earlier import FORM, KIND
from scripts.bench.report.figures import Figures, in_digits
from scripts.bench.report.limits import LIMITS, Limit
from scripts.bench.report.results import Results
from scripts.bench.report.rows import rows

_GROWING = (
    ("events_per_second", " since the size before"),
    ("account_milliseconds", ", the long stream"),
    ("old_transaction_milliseconds", ""),
    ("new_transaction_milliseconds", ""),
)


def table(comparisons: Sequence[ContestantComparison], figures: Mapping[str, Figures]) -> Table:
    """Return the table of comparisons: the median of all rounds and its spread, of rates and of each round's ratio, and
    the bar.
    """
    shown = Table(title="Medians of all rounds (lowest–highest)", box=SIMPLE)
    for column in ("workload", "rate", "p50\np99 ms", "yardstick", "rate", "ratio", "to reach", ""):
        shown.add_column(column, no_wrap=True)
    for comparison in comparisons:
        shown.add_row(*_row(comparison, figures))
    return shown


def _row(comparison: ContestantComparison, figures: Mapping[str, Figures]) -> tuple[str, ...]:
    _, workload, yardstick, bar = comparison
    found = comparison.spread(figures)
    against = figures[yardstick] if yardstick else None
    reached = "" if bar is None else "reached" if found.median >= bar else "[bold red]missed[/]"
    wanted = "–" if bar is None else f"≥ {round(bar, 2):,g}"
    return (
        _name(figures[workload]),
        _rate(figures[workload]),
        _latency(figures[workload]),
        _name(against) if against else "–",
        _rate(against) if against else "–",
        f"{found.median:.2f}\n({found.lowest:.2f}–{found.highest:.2f})" if against else "–",
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


def limit_lines(results: Results) -> Iterator[str]:
    """Yield one line for each limit of what was measured, that says whether it was kept."""
    for limit, found in _limits(results):
        kept = "kept" if found < limit.below else "[bold red]broken[/]"
        detail = limit.detail.replace("_", " ")
        yield f"{limit.workload}: {detail} {in_digits(found)}, to stay below {limit.below:,g}: {kept}."


def _limits(results: Results) -> Iterator[tuple[Limit, float]]:
    for limit in LIMITS:
        if (found := limit.found(results)) is not None:
            yield limit, found


def document(comparisons: Sequence[ContestantComparison], results: Results) -> dict[str, Any]:
    """Return the same figures as JSON, with every reading of every round."""
    return {
        "report": KIND,
        "form": FORM,
        "rows": msgspec.to_builtins(rows(comparisons, results)),
        "comparisons": [_comparison(comparison, results.figures) for comparison in comparisons],
        "limits": [
            {
                "workload": limit.workload,
                "detail": limit.detail,
                "below": limit.below,
                "value": found,
                "kept": found < limit.below,
            }
            for limit, found in _limits(results)
        ],
        "figures": {name: _figures(found) for name, found in results.figures.items()},
        "space": {stage: _space(found) for stage, found in results.space.items()},
        "books": {stage: found._asdict() for stage, found in results.books.items()},
        "growth": results.milestones,
    }


def _comparison(comparison: ContestantComparison, figures: Mapping[str, Figures]) -> dict[str, Any]:
    found, bar = comparison.spread(figures), comparison.bar
    return {
        "stage": comparison.stage,
        "workload": comparison.workload,
        "yardstick": comparison.yardstick,
        "measure": "ratio of each round" if comparison.yardstick else figures[comparison.workload].unit,
        "value": found.median,
        "lowest": found.lowest,
        "highest": found.highest,
        "bar": bar,
        "reached": None if bar is None else found.median >= bar,
    }


def _space(space: DiskSpace) -> dict[str, Any]:
    return {
        "transactions": space.transactions,
        **{f"{part}_bytes": space.per_transaction(part) for part in (JOURNAL, INDEXES, READ_MODELS)},
        "bytes_added": {relation.name: grown for relation, grown in space.bytes.items() if grown},
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "unit": figures.unit,
        "median": figures.median,
        "lowest": min(figures.rates),
        "highest": max(figures.rates),
        "processor_microseconds": figures.processor_microseconds,
        "rounds": [
            {
                "rate": reading.rate,
                "units": reading.units,
                "seconds": reading.seconds,
                **reading.details,
                "processor_seconds": dict(reading.processor_seconds),
            }
            for reading in figures.readings
        ],
    }
