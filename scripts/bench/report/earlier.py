"""An earlier report beside a new one: for each row of both, whether the difference is more than chance would make.

Both reports are read from their JSON, so that nothing is compared that a report does not say.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.box import SIMPLE
from rich.table import Table

from scripts.bench.report.figures import Spread, in_digits
from scripts.bench.report.rows import Row

KIND = "tallystick bench"
FORM = 2
"""Counts the forms that the JSON of a report has had."""

_DRIFTS = "load_average_before"


class NoReport(ValueError):
    """A file is no report that this release can read. The message names the file and says why."""


class Report(msgspec.Struct):
    """As much of a report as is compared."""

    started_at: str
    machine: dict[str, Any]
    versions: dict[str, Any]
    database: dict[str, Any]
    size: dict[str, Any]
    rows: list[Row]


class Difference(NamedTuple):
    """A row of two reports."""

    name: str
    measure: str
    then: Spread
    now: Spread
    word: str

    @property
    def ratio(self) -> float | None:
        """Now to then. None if there was nothing then."""
        return self.now.median / self.then.median if self.then.median else None


def read(file: Path) -> Report:
    """Return the report in a file. Raises `NoReport`."""
    try:
        document = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise NoReport(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise NoReport(f"{file} is not JSON: {error}") from error
    if not (isinstance(document, dict) and {"figures", "comparisons"} <= document.keys()):
        raise NoReport(f"{file} is no report of {KIND}")
    form = document.get("form", 1)
    if form != FORM:
        raise NoReport(f"{file} is a report of form {form}, and this release compares those of form {FORM}")
    try:
        return msgspec.convert(document, Report)
    except msgspec.ValidationError as error:
        raise NoReport(f"{file} is a damaged report: {error}") from error


def report_of(document: Mapping[str, Any]) -> Report:
    """Return the report of a document that was made just now."""
    return msgspec.convert(document, Report)


def differences(then: Report, now: Report) -> list[Difference]:
    """Return the rows that both reports have, in the order of the new one."""
    known = {(row.name, row.measure): row for row in then.rows}
    return [
        Difference(row.name, row.measure, before.found, row.found, _word(before, row))
        for row in now.rows
        if (before := known.get((row.name, row.measure)))
    ]


def _word(then: Row, now: Row) -> str:
    """Tell whether the medians are farther apart than the rounds of either report. One round has no spread."""
    if min(then.rounds, now.rounds) < 2:
        return "unknown"
    difference = abs(now.found.median - then.found.median)
    return "changed" if difference > max(then.found.width, now.found.width) else "as before"


def circumstances_that_differ(then: Report, now: Report) -> Iterator[str]:
    """Yield a sentence for each circumstance that differs."""
    for part in ("machine", "versions", "database", "size"):
        before, after = getattr(then, part), getattr(now, part)
        for name in sorted((before.keys() | after.keys()) - {_DRIFTS}):
            if before.get(name) != after.get(name):
                yield f"{part}, {name}: {before.get(name)} then, {after.get(name)} now"


def differences_table(then: Report, now: Report) -> Table:
    """Return the table of differences."""
    shown = Table(title=f"Beside the report of {then.started_at[:16]} (lowest–highest)", box=SIMPLE)
    for column in ("", "measure", "then", "now", "now / then", ""):
        shown.add_column(column, no_wrap=True)
    for one in differences(then, now):
        ratio = "–" if one.ratio is None else f"{one.ratio:.2f}"
        word = f"[bold]{one.word}[/]" if one.word == "changed" else one.word
        shown.add_row(one.name, one.measure, _shown(one.then), _shown(one.now), ratio, word)
    return shown


def _shown(found: Spread) -> str:
    return f"{in_digits(found.median)} ({in_digits(found.lowest)}–{in_digits(found.highest)})"
