"""Compares the tables of a projection, row by row, with the rows that follow from the journal."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg import Connection

from domain.journal.queries import load
from projections.audit import accounts, entries, outbox, payouts, seals, transactions
from projections.audit.stored import Journal, Row, Sample, Unfoldable, rows_of

Nature = Literal["missing", "extra", "unequal"]

MAX_SHOWN = 10
"""How many differences of a table are kept to be shown. All are counted."""

_TYPES = {
    "made_position": "bigint",
    "id": "uuid",
    "webhook_id": "uuid",
    "slot": "bigint",
    "level": "smallint",
    "number": "bigint",
}

_SQL = load("projections.audit.audit")


class Table(NamedTuple):
    """A table of a projection and the rows that it must hold, sorted by its first columns, the `key`.

    `sampled_by` are the columns by which the rows of a sample are found. `sampled` says which values these columns must
    have: those of the sample's ledgers, accounts or transactions, or of the expected rows themselves.
    """

    projection: str
    key: tuple[str, ...]
    expected: Callable[[Journal], Iterator[Row]]
    sampled_by: tuple[str, ...]
    sampled: Literal["ledgers", "accounts", "transactions", "rows"]


TABLES: Mapping[str, Table] = {
    "ledgers": Table("ledgers", ("name",), accounts.ledgers, ("name",), "ledgers"),
    "balances": Table("balances", ("stream",), accounts.balances, ("ledger", "address"), "accounts"),
    "entries": Table(
        "entries",
        ("position", "entry", "ledger", "account"),
        entries.entries,
        ("ledger", "account"),
        "accounts",
    ),
    "turnovers": Table(
        "entries",
        ("ledger", "account", "clock", "span", "until", "asset"),
        entries.turnovers,
        ("ledger", "account"),
        "accounts",
    ),
    "transactions": Table(
        "transactions",
        ("made_position", "ledger"),
        transactions.transactions,
        ("made_position", "ledger"),
        "rows",
    ),
    "transaction_accounts": Table(
        "transactions",
        ("made_position", "ledger", "account"),
        transactions.transaction_accounts,
        ("made_position", "ledger", "account"),
        "rows",
    ),
    "transaction_metadata": Table(
        "transactions",
        ("made_position", "ledger", "key", "value"),
        transactions.transaction_metadata,
        ("made_position", "ledger", "key", "value"),
        "rows",
    ),
    "due": Table("due", ("ledger", "id"), transactions.due, ("ledger", "id"), "transactions"),
    "payouts": Table("payouts", ("ledger", "id"), payouts.payouts, ("ledger", "id"), "transactions"),
    "outbox": Table("outbox", ("webhook_id",), outbox.outbox, ("webhook_id",), "rows"),
    "event_index": Table("event_index", ("slot",), seals.index, ("slot",), "rows"),
    "seals": Table("seals", ("level", "number"), seals.tiles, ("level", "number"), "rows"),
}
"""All tables of all projections, without the numbers of their versions."""


SHAPES: Mapping[str, int] = {
    "ledgers": 2,
    "balances": 1,
    "entries": 2,
    "transactions": 1,
    "due": 1,
    "payouts": 2,
    "outbox": 2,
    "event_index": 2,
    "seals": 1,
}
"""The shape of each projection's tables that is compared here. Tables of another release may have other shapes."""


class Version(NamedTuple):
    """A version of a projection that is being read: its position and its state."""

    name: str
    version: int
    position: int
    state: str


class Difference(NamedTuple):
    """A row that is missing, extra, or has unequal columns. `columns` maps names to (expected, actual)."""

    table: str
    nature: Nature
    key: Mapping[str, Any]
    columns: Mapping[str, tuple[Any, Any]]

    def __str__(self) -> str:
        key = ", ".join(f"{name} {value}" for name, value in self.key.items())
        unequal = "".join(
            f"; {name} is {actual}, must be {expected}" for name, (expected, actual) in self.columns.items()
        )
        return f"{self.table}: {self.nature} row: {key}{unequal}"


class AuditedTable(NamedTuple):
    """The result for a table at a position: how many rows it must hold, how many differ, and the first differences."""

    table: str
    position: int
    rows: int
    differing: int
    differences: Sequence[Difference]

    @property
    def equal(self) -> bool:
        """Whether the table holds exactly the expected rows."""
        return not self.differing


@contextmanager
def one_instant(connection: Connection[Any]) -> Iterator[None]:
    """Read everything within this context from one snapshot. The connection must not be in a transaction."""
    with connection.transaction():
        _SQL["one_instant"].run(connection)
        _SQL["whole_cursors"].run(connection)
        yield


def versions(connection: Connection[Any], name: str | None = None) -> list[Version]:
    """Return the versions in use, of one projection or of all, whose shape is in `SHAPES`."""
    shapes = {known: shape for known, shape in SHAPES.items() if name in (None, known)}
    wanted = {"names": list(shapes), "shapes": list(shapes.values())}
    return _SQL["versions"].rows(connection, wanted, into=Version)


def compare(
    connection: Connection[Any], version: Version, *, sample: Sample | None = None
) -> list[AuditedTable]:
    """Compare every table of a version with the journal up to the version's position.

    Events that are held behind dead letters, and events that an operator has discarded, must not be in the tables. Call
    it within `one_instant`, in which the version was found. Raises `Unfoldable`.
    """
    held, discarded = _left_out(connection, version)
    journal = Journal(connection, version.position, held, discarded, sample)
    return [
        _compare(journal, name, table, version)
        for name, table in TABLES.items()
        if table.projection == version.name
    ]


def differences(connection: Connection[Any], name: str | None = None) -> list[Difference]:
    """Compare all versions of a projection, or of all projections if none is named, and return the first differences.

    An empty list means: equal in every row and column. The connection must not be in a transaction. Raises
    `Unfoldable`.
    """
    with one_instant(connection):
        return [
            difference
            for version in versions(connection, name)
            for comparison in compare(connection, version)
            for difference in comparison.differences
        ]


def expected_rows(connection: Connection[Any], table: str, upto: int) -> Iterator[Mapping[str, Any]]:
    """Return the rows that a table must hold at a position, in the order of its key, each with its columns by name.

    Call it within `one_instant`. Raises `KeyError` for a table that is not in `TABLES`, and `Unfoldable`.
    """
    (version, *_) = versions(connection, TABLES[table].projection)
    columns = _columns(connection, _query(table, version.version, "false"), {})
    for row in _foldable(TABLES[table].expected(Journal(connection, upto))):
        yield dict(zip(columns, row, strict=True))


def _left_out(connection: Connection[Any], version: Version) -> tuple[set[int], set[int]]:
    """Return the positions of events that are held behind dead letters, and those of discarded events."""
    if _SQL["has_dead_letters"].row(connection) != (True,):
        return set(), set()
    wanted = version._asdict()
    held, discarded = (
        {position for (position,) in _SQL[query].rows(connection, wanted)} for query in ("held", "discarded")
    )
    return held, discarded


def _compare(journal: Journal, name: str, table: Table, version: Version) -> AuditedTable:
    expected = _foldable(table.expected(journal))
    condition, values = "true", dict[str, Any]()
    if journal.sample is not None:
        rows = list(expected)
        condition, values = _sampled(table, journal.sample, rows)
        expected = iter(rows)
    query = _query(name, version.version, condition)
    counted = _Counted(expected)
    actual = rows_of(journal.connection, query, values)
    merge = _Merge(
        f"{name}_v{version.version:d}", _columns(journal.connection, query, values), len(table.key)
    )
    found = merge.differences(counted, actual)
    shown = list(islice(found, MAX_SHOWN))
    more = sum(1 for _ in found)
    return AuditedTable(merge.table, version.position, counted.rows, len(shown) + more, shown)


def _query(table: str, version: int, condition: str) -> str:
    return _SQL[table].fill(version=version, sampled=condition)


def _columns(connection: Connection[Any], query: str, values: Mapping[str, Any]) -> list[str]:
    cursor = connection.execute(f"SELECT * FROM ({query}) AS t LIMIT 0".encode(), values)
    return [column.name for column in cursor.description or ()]


def _sampled(table: Table, sample: Sample, rows: Sequence[Row]) -> tuple[str, dict[str, Any]]:
    """Return the condition that a row of the table belongs to a sample, and its parameters."""
    if table.sampled == "rows":
        keys: list[Row] = [row[: len(table.key)] for row in rows]
    elif table.sampled == "ledgers":
        keys = [(ledger,) for ledger in sample.ledgers]
    else:
        keys = [tuple(stream.split(f"/{table.sampled}/", 1)) for stream in getattr(sample, table.sampled)]
        # Streams of transactions are named by ids. A stream that another program named otherwise is in no table.
        keys = [key for key in keys if table.sampled == "accounts" or _is_id(key[1])]
    columns = zip(*keys, strict=True) if keys else [() for _ in table.sampled_by]
    arrays = ", ".join(f"%({name})s::{_TYPES.get(name, 'text')}[]" for name in table.sampled_by)
    condition = f"({', '.join(table.sampled_by)}) IN (SELECT * FROM unnest({arrays}))"
    return condition, dict(zip(table.sampled_by, map(list, columns), strict=True))


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _foldable(rows: Iterator[Row]) -> Iterator[Row]:
    """Return the rows; raise `Unfoldable` if the journal lacks something that every release has written."""
    last: Row | None = None
    try:
        for last in rows:
            yield last
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Unfoldable(0, f"cannot be folded: {error!r}, after the row {last}") from error


class _Counted:
    """Counts rows as they pass."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.rows = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.rows += 1
            yield row


class _Merge(NamedTuple):
    """A table: its name, the names of its columns, and how many of the first columns are the key."""

    table: str
    columns: Sequence[str]
    key: int

    def differences(self, expected: Iterable[Row], actual: Iterable[Row]) -> Iterator[Difference]:
        """Return the differences between two lists of rows. Both are sorted by key and have at most one row per key."""
        key, expected, actual = self.key, iter(expected), iter(actual)
        wanted, found = next(expected, None), next(actual, None)
        while wanted is not None or found is not None:
            if wanted == found:
                wanted, found = next(expected, None), next(actual, None)
            elif found is None or (wanted is not None and wanted[:key] < found[:key]):
                assert wanted is not None
                yield self._difference("missing", wanted, wanted)
                wanted = next(expected, None)
            elif wanted is None or found[:key] < wanted[:key]:
                yield self._difference("extra", found, found)
                found = next(actual, None)
            else:
                yield self._difference("unequal", wanted, found)
                wanted, found = next(expected, None), next(actual, None)

    def _difference(self, nature: Nature, expected: Row, actual: Row) -> Difference:
        pairs = zip(self.columns, expected, actual, strict=True)
        columns = {name: (wanted, found) for name, wanted, found in pairs if wanted != found}
        key = dict(zip(self.columns, expected[: self.key], strict=False))
        return Difference(self.table, nature, key, columns)
