"""The forms of a report: a table for people, CSV for spreadsheets, JSON for programs. Rows are written as they come.

Numbers in JSON follow the HTTP API. Amounts are minor units. The amount of one entry or one account is an integer,
exact in every client. A sum over accounts may exceed 2^53 − 1, so it is a string of digits. Positions and counts are
integers. Tables and CSV show amounts in units of the asset with all its decimals, or in minor units.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import typer

from projections.exports.plain_text import decimal
from projections.read_models.account_changes import Change
from projections.read_models.reports import AMOUNTS, NUMBERS, Row
from scripts.commands.report.spreadsheets import Number, csv_cells, csv_to
from scripts.table import cell

Format = Literal["table", "csv", "json"]

TABLE_ROWS_AT_ONCE = 1_000
"""How many rows of a table are aligned together. From one such group to the next a column can only grow wider."""

TOTAL = "(total)"
"""Stands in the account column of a table's totals. No address has parentheses."""

Totals = Callable[[], Sequence[Row]]
"""Returns the totals of the rows. Call it after the rows are read."""


class Form(Protocol):
    """How the rows of a report are written."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns."""

    @property
    def once(self) -> frozenset[str]:
        """The columns a table leaves blank in a row that equals the row above in all of them."""

    def members(self, row: Any, *, is_total: bool) -> dict[str, Any]:
        """Return a row as JSON members."""

    def cells(self, row: Any) -> list[str]:
        """Return a row as cells of a table or CSV. Numbers are `Number`."""


class AmountsForm(NamedTuple):
    """The form of a report of amounts. `is_summed`: the amounts of its rows are sums over accounts."""

    columns: Sequence[str]
    once: frozenset[str] = frozenset()
    is_summed: bool = False
    minor_units: bool = False

    def members(self, row: Row, *, is_total: bool) -> dict[str, Any]:
        """Return a row as JSON members."""
        is_text = AMOUNTS if is_total or self.is_summed else frozenset[str]()
        named = zip(self.columns, row, strict=True)
        return {name: str(value) if name in is_text else value for name, value in named}

    def cells(self, row: Row) -> list[str]:
        """Return a row as cells of a table or CSV."""
        asset = row[self.columns.index("asset")]
        return [self._cell(name, value, asset) for name, value in zip(self.columns, row, strict=True)]

    def _cell(self, name: str, value: Any, asset: str) -> str:
        if name in AMOUNTS:
            return Number(value if self.minor_units else decimal(value, asset))
        return Number(value) if name in NUMBERS else str(value)


class ChangesForm(NamedTuple):
    """The form of a report of changes. Some of the values before and after are amounts."""

    columns: Sequence[str]
    once: frozenset[str] = frozenset()
    minor_units: bool = False

    def members(self, row: Change, *, is_total: bool) -> dict[str, Any]:
        """Return a row as JSON members."""
        return dict(zip(self.columns, row, strict=True))

    def cells(self, row: Change) -> list[str]:
        """Return a row as cells of a table or CSV. The value before an account was opened is blank."""
        was = "" if row.change == "opened" else self._value(row, row.before)
        shown = row._replace(before=was, after=self._value(row, row.after))
        return [text if isinstance(text, str) else Number(text) for text in shown]

    def _value(self, row: Change, value: Any) -> str:
        if row.attribute in ("min_balance", "max_balance"):
            if value is None:
                return "unlimited"
            return Number(value if self.minor_units else decimal(value, row.asset))
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


class Stated(NamedTuple):
    """The frame of a report: its title, its JSON members, and a sentence with the position it reflects."""

    title: str
    members: dict[str, Any]
    reflects: str


def write(form: Form, in_form: Format, stated: Stated, rows: Iterable[Any], totals: Totals) -> None:
    """Write a report to standard output. With CSV, the title and position go to standard error."""
    match in_form:
        case "json":
            _write_json(form, stated, rows, totals)
        case "csv":
            _write_csv(form, stated, rows, totals)
        case "table":
            _write_table(form, stated, rows, totals)


def _write_json(form: Form, stated: Stated, rows: Iterable[Any], totals: Totals) -> None:
    """Write one object with each row on its own line."""
    head = json.dumps(stated.members, indent=2, ensure_ascii=False).removesuffix("\n}")
    _put(f"{head},\n")
    for name, part in (("data", lambda: rows), ("totals", totals)):
        lines = (form.members(row, is_total=name == "totals") for row in part())
        _put(f'  "{name}": [')
        before = "\n    "
        for members in lines:
            _put(before + json.dumps(members, ensure_ascii=False))
            before = ",\n    "
        end = "]" if before == "\n    " else "\n  ]"  # an empty list stays on its line
        _put(f"{end},\n" if name == "data" else f"{end}\n}}\n")


def _write_csv(form: Form, stated: Stated, rows: Iterable[Any], totals: Totals) -> None:
    sys.stdout.flush()
    with csv_to(sys.stdout.buffer) as writer:
        writer.writerow(form.columns)
        for part in (lambda: rows, totals):
            for row in part():
                writer.writerow(csv_cells(form.cells(row)))
    sys.stdout.buffer.flush()
    typer.echo(stated.title, err=True)
    typer.echo(stated.reflects, err=True)


def _write_table(form: Form, stated: Stated, rows: Iterable[Any], totals: Totals) -> None:
    _put(f"{stated.title}\n\n")
    table = _Table(form)
    table.put(form.columns)
    for row in rows:
        table.put(form.cells(row))
    table.forget()
    for row in totals():
        cells = form.cells(row)
        if "account" in form.columns:
            cells[form.columns.index("account")] = TOTAL
        table.put(cells)
    table.close()
    _put(f"\n{stated.reflects}\n")


class _Table:
    """Aligns rows as they come, numbers to the right."""

    def __init__(self, form: Form) -> None:
        self._columns = form.columns
        self._once = [name in form.once for name in form.columns]
        self._widths = [0] * len(form.columns)
        self._to_right = [name in AMOUNTS or name in NUMBERS for name in form.columns]
        self._waiting: list[list[str]] = []
        self._last: list[str] = []

    def put(self, cells: Sequence[str]) -> None:
        """Take a row. It is written at the latest when the table is closed."""
        self._waiting.append(self._shown([cell(text) for text in cells]))
        if len(self._waiting) == TABLE_ROWS_AT_ONCE:
            self.close()

    def forget(self) -> None:
        """Show the next row whole, even where it repeats the one before."""
        self._last = []

    def close(self) -> None:
        """Write all waiting rows."""
        columns = zip(*self._waiting, strict=True)
        found = [max(map(len, column)) for column in columns]
        self._widths = [max(pair) for pair in zip(self._widths, found or self._widths, strict=True)]
        for row in self._waiting:
            aligned = zip(row, self._widths, self._to_right, strict=True)
            line = "  ".join(
                text.rjust(width) if right else text.ljust(width) for text, width, right in aligned
            )
            _put(f"{line.rstrip()}\n")
        self._waiting = []

    def _shown(self, cells: list[str]) -> list[str]:
        """Return a row, blank in the columns that repeat the row above."""
        named = [text for text, once in zip(cells, self._once, strict=True) if once]
        is_same, self._last = bool(named) and named == self._last, named
        return ["" if once and is_same else text for text, once in zip(cells, self._once, strict=True)]


def _put(text: str) -> None:
    sys.stdout.write(text)
