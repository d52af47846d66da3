"""Compares two versions of a projection, table by table: the number of rows, and a checksum over all columns."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.queries import load
from projections.engine.projection import Projection

_SQL = load(__name__)


class TableComparison(NamedTuple):
    """A table of the live version and its rebuilt counterpart. `differing` are some rows that only one of them has."""

    live_table: str
    rebuilt_table: str
    live_rows: int
    rebuilt_rows: int
    live_checksum: str
    rebuilt_checksum: str
    differing: tuple[str, ...] = ()

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "TableComparison":
        """Return a comparison from its stored form, a mapping of its members."""
        return cls(**{**members, "differing": tuple(members["differing"])})

    @property
    def equal(self) -> bool:
        """Whether the tables are equal."""
        return (self.live_rows, self.live_checksum) == (self.rebuilt_rows, self.rebuilt_checksum)

    def __str__(self) -> str:
        if self.equal:
            return (
                f"{self.live_table} and {self.rebuilt_table} are equal: {self.live_rows} rows,"
                f" and the checksum over all columns of all rows is {self.live_checksum} in both"
            )
        return "\n".join(
            [
                f"{self.live_table} and {self.rebuilt_table} differ:"
                f" {self.live_rows} rows with checksum {self.live_checksum},"
                f" against {self.rebuilt_rows} rows with checksum {self.rebuilt_checksum}",
                *(f"  {row}" for row in self.differing),
            ]
        )


def compare(
    connection: Connection[Any], projection: Projection, live: int, rebuilt: int
) -> list[TableComparison]:
    """Compare two versions. The caller's transaction must see both at the same position."""
    return [
        _compare_tables(connection, *tables)
        for tables in zip(projection.table_names(live), projection.table_names(rebuilt), strict=True)
    ]


def _compare_tables(connection: Connection[Any], live: str, rebuilt: str) -> TableComparison:
    live_rows, live_checksum = _checksum(connection, live)
    rebuilt_rows, rebuilt_checksum = _checksum(connection, rebuilt)
    compared = TableComparison(live, rebuilt, live_rows, rebuilt_rows, live_checksum, rebuilt_checksum)
    if compared.equal:
        return compared
    differing = _SQL["differing"].fill(live=live, rebuilt=rebuilt).rows(connection)
    return compared._replace(differing=tuple(f"{where}: {row}" for where, row in differing))


def _checksum(connection: Connection[Any], table: str) -> tuple[int, str]:
    rows, checksum = _SQL["checksum"].fill(table=table).only(connection)
    return rows, checksum
