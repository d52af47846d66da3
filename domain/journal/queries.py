"""SQL in files. A line `-- name: …` names each query; the comment below it says why the query is as it is.

`:columns` in a query stands for the text of the query `columns` in the same file. Any other placeholder of this form
stands for a part that differs from call to call, such as a sort order or the number of a version: see `Query.fill`.

The pipelines of the writer and the projectors execute the texts themselves: they send several statements before they
fetch the first row, on connections whose rows are tuples.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, TypedDict, TypeVar, Unpack, overload

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow, tuple_row
from psycopg.sql import Composable

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_PLACEHOLDER = re.compile(r"(?<![:\w]):(\w+)")

Source = Connection[Any] | Cursor[TupleRow]
"""Where a query runs. A connection may have rows of any form; those of a query are tuples."""

Values = Mapping[str, Any] | Sequence[Any] | None
"""The parameters of a query, by name or in their order."""

Made = TypeVar("Made")


class Options(TypedDict, total=False):
    """How a query runs: prepared by the server, or planned with its values, and with rows in binary or as text."""

    prepare: bool
    binary: bool


class Query(str):
    """The text of one query, and the ways to run it."""

    __slots__ = ()

    def fill(self, **parts: str | int | Composable) -> "Query":
        """Return the query with SQL in place of its placeholders: `fill(order="ASC")` replaces each `:order`.

        A part is a text of this program, a number, or an `Identifier` for a name that is not: it is never a value that
        somebody has sent.
        """
        text = str(self)
        for name, part in parts.items():
            text = text.replace(f":{name}", part.as_string() if isinstance(part, Composable) else str(part))
        return Query(text)

    def run(self, source: Source, values: Values = None, **options: Unpack[Options]) -> Cursor[TupleRow]:
        """Execute the query; return the cursor."""
        cursor = source if isinstance(source, Cursor) else source.cursor(row_factory=tuple_row)
        return cursor.execute(self, values, **options)

    def row(self, source: Source, values: Values = None, **options: Unpack[Options]) -> TupleRow | None:
        """Return the first row that the query finds, None if there is none."""
        return self.run(source, values, **options).fetchone()

    def only(self, source: Source, values: Values = None, **options: Unpack[Options]) -> TupleRow:
        """Return the row of a query that always finds exactly one."""
        (row,) = self.run(source, values, **options).fetchall()
        return row

    @overload
    def rows(self, source: Source, values: Values = None, **options: Unpack[Options]) -> list[TupleRow]: ...

    @overload
    def rows(
        self, source: Source, values: Values = None, *, into: Callable[..., Made], **options: Unpack[Options]
    ) -> list[Made]: ...

    def rows(
        self,
        source: Source,
        values: Values = None,
        *,
        into: Callable[..., Any] | None = None,
        **options: Unpack[Options],
    ) -> list[Any]:
        """Return the rows that the query finds. If `into` is given, each is what it returns for the row's columns."""
        found = self.run(source, values, **options).fetchall()
        return found if into is None else [into(*row) for row in found]


@cache
def load(module: str) -> Mapping[str, Query]:
    """Return the queries, by name and without comments, of the SQL file beside a module that has the module's name.

    `load(__name__)` returns the module's own.
    """
    package, _, name = module.rpartition(".")
    parts = _NAME.split(files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8"))
    texts = {name: _statement(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return {name: Query(_whole(text, texts)) for name, text in texts.items()}


def _statement(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip().removesuffix(";")


def _whole(text: str, texts: Mapping[str, str]) -> str:
    """Return a text with the queries that it names in place of their names."""
    return _PLACEHOLDER.sub(
        lambda found: _whole(texts[found[1]], texts) if found[1] in texts else found[0], text
    )
