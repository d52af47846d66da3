"""The yardstick of the write path: one connection appends the same rows and does nothing else.

No decision, no lock, no position to assign, no notification: only PostgreSQL's own cost for the rows.
"""

from collections.abc import Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple

from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.journal.queries import load
from scripts.bench.report.figures import Measurement

_SQL = load("scripts.bench.bench")


Columns = list[list[Any]]
"""Rows column by column, as they are sent."""


class Written(NamedTuple):
    """What a run appended: the positions after `after` up to `upto`, the number of transfers, and the number of
    batches.
    """

    after: int
    upto: int
    transfers: int
    batches: int


class RawAppend:
    """Appends what a workload has written to a table like the journal's, new and empty for each run."""

    def __init__(self, journal: Database) -> None:
        self._journal = journal
        self._copy = Database(journal.url, f"{journal.schema}_copy")
        self._connection = self._copy.connect_as_owner("tallystick bench")

    def __enter__(self) -> "RawAppend":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()
        self._connection.close()

    def append(self, written: Written) -> Measurement:
        """Append the rows in as many transactions as there were batches, and time that."""
        batches = self._batches(written)
        self._drop()
        self._create()
        started = perf_counter()
        for rows in batches:
            with self._connection.transaction():
                self._connection.execute(_SQL["append"], rows, prepare=True)
        return Measurement(written.transfers, perf_counter() - started)

    def _batches(self, written: Written) -> list[Columns]:
        with self._journal.connect("tallystick bench") as connection:
            wanted = {"after": written.after, "upto": written.upto}
            rows = connection.execute(_SQL["rows"], wanted, binary=True).fetchall()
        size = -(-len(rows) // written.batches)
        return [_columns(rows[first : first + size]) for first in range(0, len(rows), size)]

    def _create(self) -> None:
        names = {"copy": Identifier(self._copy.schema), "journal": Identifier(self._journal.schema)}
        self._connection.execute(SQL("CREATE SCHEMA {copy}").format(**names))
        self._connection.execute(SQL(_SQL["copy_of_events"]).format(**names))

    def _drop(self) -> None:
        self._connection.execute(
            SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(self._copy.schema))
        )


def _columns(rows: Sequence[tuple[Any, ...]]) -> Columns:
    return [list(column) for column in zip(*rows, strict=True)]
