"""Rows in columns, for people at a terminal."""

from collections.abc import Sequence
from typing import Any

import typer


def cell(value: Any) -> str:
    """Return a value as text of one line: lists joined, `-` for none, without what a terminal would obey."""
    text = ",".join(value) if isinstance(value, list) else "-" if value is None else str(value)
    if text.isprintable():  # nearly every one, and a tenth of the time
        return text
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def print_aligned(rows: Sequence[Sequence[str]]) -> None:
    """Print rows, each column as wide as its widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())
