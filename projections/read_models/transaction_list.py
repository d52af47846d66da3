"""Reads the list of transactions, oldest or newest first, with any combination of filters.

A page costs about the same however many transactions there are, if the filters match few of them, or enough to fill a
page soon.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec import json
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.model.streams import account_stream
from domain.model.times import Instant
from domain.model.transactions import Kind, Status, Transaction
from projections.engine.live_version import Page, Rows, read_live, read_rows
from projections.engine.projection import Queries, directed
from projections.read_models.rejections import with_details
from projections.read_models.transactions import PROJECTION, transaction

MAX_GATHERED = 20_000
"""How many positions of a prefix or of dated transactions are gathered and sorted; for more, the list is walked."""

CHUNK_POSITIONS = 1_000
MAX_JOINED_PAIRS = 4
"""How many pairs of metadata are joined. Each makes planning slower, so any others are checked in the rows."""

NO_POSITION = 2**63 - 1
"""Beyond every position."""


class TransactionFilters(NamedTuple):
    """Filters on transactions. Null or empty filters nothing.

    `account` must be among the entries' accounts, and `prefix` must begin one of them. All pairs of `metadata` must be
    in the transaction's. Times: from inclusive, to exclusive.
    """

    account: str | None = None
    prefix: str | None = None
    reference: str | None = None
    status: Status | None = None
    kind: Kind | None = None
    correlation_id: str | None = None
    metadata: Mapping[str, str] | None = None
    recorded_from: Instant | None = None
    recorded_to: Instant | None = None
    effective_from: Instant | None = None
    effective_to: Instant | None = None


class Span(NamedTuple):
    """A range of positions, from `low` to before `high`."""

    low: int = 0
    high: int = NO_POSITION

    def within(self, other: "Span") -> "Span":
        """Return the positions that are in both."""
        return Span(max(self.low, other.low), min(self.high, other.high))


def list_transactions(
    connection: Connection[Any],
    ledger: str,
    filters: TransactionFilters = TransactionFilters(),  # noqa: B008 - it cannot be changed
    *,
    after: int | None = None,
    limit: int,
    descending: bool = False,
    most_bytes: int | None = None,
    existing: Sequence[str] = (),
) -> Page[Transaction]:
    """Return up to `limit` transactions in the order of recording, that come after the `made_position` `after`.

    The page ends early with the transaction that makes it larger than `most_bytes`, unless that is None. `existing` is
    as for `read_live`.
    """

    def read(cursor: Cursor[TupleRow], version: int) -> Rows[Transaction]:
        queries = PROJECTION.queries(version)
        found = _Search(cursor, queries, ledger, filters, limit, descending, most_bytes).found(after)
        return found.read_as(with_details(cursor, found))

    about = account_stream(ledger, filters.account) if filters.account else None
    reading = read_live(connection, PROJECTION, read, about, existing)
    return Page(reading.found, *reading[1:])


class _Search(NamedTuple):
    """The search for one page, within one snapshot of the database."""

    cursor: Cursor[TupleRow]
    queries: Queries
    ledger: str
    filters: TransactionFilters
    limit: int
    descending: bool
    most_bytes: int | None

    def found(self, after: int | None) -> Rows[Transaction]:
        filters = self.filters
        span = self._recorded(filters.recorded_from, filters.recorded_to)
        if after is not None:
            span = span.within(Span(high=after) if self.descending else Span(low=after + 1))
        positions = self._gathered("gather_prefix", span) if filters.prefix and not self._is_led else None
        if not filters.effective_from and not filters.effective_to:
            return self._some(span, positions, None)
        # Transactions that take effect when recorded lie within the positions of that time. The dated are searched
        # apart.
        plain = span.within(self._recorded(filters.effective_from, filters.effective_to))
        undated = self._some(plain, positions, False)
        if positions is None and not self._is_led:
            positions = self._gathered("gather_dated", span)
        return self._merged(undated, self._some(span, positions, True))

    def _merged(self, *parts: Rows[Transaction]) -> Rows[Transaction]:
        """Return the rows of several parts of the list in its order, as far as all of them go."""
        found = sorted(chain(*parts), key=attrgetter("made_position"), reverse=self.descending)
        ends = [rows[-1].made_position for rows in parts if rows.ends_early]
        if ends and self.descending:
            found = [transaction for transaction in found if transaction.made_position >= max(ends)]
        elif ends:
            found = [transaction for transaction in found if transaction.made_position <= min(ends)]
        return Rows(found[: self.limit], ends_early=bool(ends))

    @property
    def _is_led(self) -> bool:
        """Whether a filter has an index in the order of the list and matches few, so that nothing must be gathered."""
        filters = self.filters
        return bool(filters.account or filters.reference or filters.correlation_id or filters.metadata)

    def _recorded(self, since: Instant | None, until: Instant | None) -> Span:
        """Return the positions recorded from `since` to before `until`."""
        return Span(
            self._first_since(since) if since else 0,
            self._first_since(until) if until else NO_POSITION,
        )

    def _first_since(self, time: Instant) -> int:
        wanted = {"ledger": self.ledger, "time": time}
        (position,) = self.queries["first_since"].only(self.cursor, wanted, prepare=False)
        return int(position)

    def _gathered(self, name: str, span: Span) -> list[int] | None:
        """Return the positions that a query finds, in the order of the list, or None if there are too many."""
        wanted = {**self._values(), "limit": MAX_GATHERED + 1}
        found = self.queries[name].rows(self.cursor, wanted, prepare=False)
        if len(found) > MAX_GATHERED:
            return None
        return sorted(
            {position for (position,) in found if span.low <= position < span.high}, reverse=self.descending
        )

    def _some(self, span: Span, positions: Sequence[int] | None, dated: bool | None) -> Rows[Transaction]:
        """Return the first transactions of a span, only from `positions` if these are given."""
        if positions is None:
            return self._page(span, None, dated, self.most_bytes)
        found: Rows[Transaction] = Rows()
        for chunk in _chunks(positions, self.limit):
            left = None if self.most_bytes is None else self.most_bytes - found.size_bytes
            more = self._page(span, chunk, dated, left)
            found = Rows(
                [*found, *more], ends_early=more.ends_early, size_bytes=found.size_bytes + more.size_bytes
            )
            if len(found) >= self.limit or found.ends_early:
                break
        return found.read_as(found[: self.limit])

    def _page(
        self, span: Span, positions: Sequence[int] | None, dated: bool | None, most_bytes: int | None
    ) -> Rows[Transaction]:
        if span.low >= span.high:
            return Rows()
        wanted = {**self._values(), **span._asdict(), "positions": positions, "dated": dated}
        query = self.queries["page"].fill(joins=self._joins())
        query = directed(query, descending=self.descending)
        rows = read_rows(self.cursor, query, wanted, most_bytes)
        return rows.read_as(map(transaction, rows))

    def _values(self) -> dict[str, Any]:
        filters, pairs = self.filters, list((self.filters.metadata or {}).items())
        more = dict(pairs[MAX_JOINED_PAIRS:])
        return {
            **{name: value or None for name, value in filters._asdict().items() if name != "metadata"},
            **{f"key_{number}": key for number, (key, _) in enumerate(pairs)},
            **{f"value_{number}": value for number, (_, value) in enumerate(pairs)},
            "more_metadata": json.encode(more).decode() if more else None,
            "ledger": self.ledger,
            "limit": self.limit,
        }

    def _joins(self) -> str:
        joins = [self.queries["of_account"]] if self.filters.account else []
        for number in range(min(len(self.filters.metadata or ()), MAX_JOINED_PAIRS)):
            joins.append(self.queries["of_pair"].fill(number=number))
        return "\n".join(joins)


def _chunks(positions: Sequence[int], limit: int) -> Iterator[Sequence[int]]:
    """Yield positions in order: first as many as a page has, since no other filter may apply, then larger chunks."""
    yield positions[:limit]
    for first in range(limit, len(positions), CHUNK_POSITIONS):
        yield positions[first : first + CHUNK_POSITIONS]
