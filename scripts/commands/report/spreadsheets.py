"""CSV that spreadsheets read as data: RFC 4180, in UTF-8, with no text that a spreadsheet would take for a formula.

A text that begins with `=`, `+`, `-`, `@`, a tab or a line break, even after blanks, gets an apostrophe in front, as
OWASP advises (CSV Injection). A text that begins with apostrophes and then such a character gets one more. So removing
one apostrophe always gives back the text. Numbers are written as numbers.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import BinaryIO, Protocol

_FORMULA = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")


class Number(str):
    """A cell that is a number, written out. A spreadsheet may read it as one, even with a sign."""


class CsvWriter(Protocol):
    """Takes rows."""

    def writerow(self, row: Iterable[str], /) -> object:
        """Write a row."""


@contextmanager
def csv_to(stream: BinaryIO) -> Iterator[CsvWriter]:
    """A CSV writer to a binary stream, which stays open. Rows end with CR and LF."""
    text = TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        yield csv.writer(text, lineterminator="\r\n")
    finally:
        text.detach()


def csv_cells(row: Sequence[str]) -> list[str]:
    """Return a row's cells with texts made harmless and numbers unchanged."""
    return [cell if isinstance(cell, Number) else harmless(cell) for cell in row]


def harmless(text: str) -> str:
    """Return the text in a form no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text
