"""Rows in aligned columns, for people at a terminal."""

from collections.abc import Sequence
from typing import Any

import typer


def cell(value: Any) -> str:
    """Return a value as one line of text: lists joined by commas, `-` for None, no control characters."""
    text = ",".join(value) if isinstance(value, list) else "-" if value is None else str(value)
    if text.isprintable():  # true of nearly every text, and ten times as fast
        return text
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def print_aligned(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with every column as wide as its widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())
