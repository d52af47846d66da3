"""Events as they are stored: JSON, read without the code that reads them elsewhere."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import tuple_row

from domain.journal.queries import load

ROWS_AT_ONCE = 5_000

BEYOND = 2**63 - 1
"""Beyond every position."""

CLASS_VERSIONS: Mapping[str, int] = {
    "ledger.opened": 1,
    "ledger.asset_registered": 1,
    "ledger.move_started": 1,
    "ledger.move_cancelled": 1,
    "ledger.moved": 1,
    "ledger.arrival_begun": 1,
    "ledger.arrival_ended": 1,
    "ledger.arrived": 1,
    "account.opened": 1,
    "account.entries_posted": 1,
    "account.entries_held": 1,
    "account.entries_settled": 1,
    "account.entries_released": 1,
    "account.limits_changed": 1,
    "account.metadata_changed": 1,
    "account.frozen": 1,
    "account.unfrozen": 1,
    "account.closed": 1,
    "transaction.posted": 2,
    "transaction.settlement_posted": 1,
    "transaction.reversal_posted": 1,
    "transaction.held": 1,
    "transaction.void_recorded": 1,
    "transaction.rejected": 3,
    "transaction.accepted": 1,
    "transaction.hold_settled": 1,
    "transaction.hold_voided": 1,
    "transaction.hold_expired": 1,
    "transaction.reversed": 1,
    "payout.accepted": 1,
    "payout.rejected": 2,
    "payout.submitted": 1,
    "payout.unanswered": 1,
    "payout.reported": 1,
    "payout.completed": 1,
    "payout.failed": 1,
    "payout.contradicted": 1,
    "payout.reconciliation_requested": 1,
    "key.made": 1,
    "key.rotated": 1,
    "key.revoked": 1,
    "checkpoint.witnessed": 1,
    "checkpoint.disputed": 1,
    "checkpoint.dispute_settled": 1,
}
"""The topics that are understood here, each with the newest version of its form."""

INSTALLATION = "-"
"""Takes the ledger's place in streams that belong to no ledger."""

POSTED = ("transaction.posted", "transaction.settlement_posted", "transaction.reversal_posted")
MADE = (*POSTED, "transaction.held", "transaction.void_recorded", "transaction.rejected")
PAYOUTS = tuple(topic for topic in CLASS_VERSIONS if topic.startswith("payout."))
DISCARDED = "discarded"
ENDED = ("transaction.hold_settled", "transaction.hold_voided", "transaction.hold_expired")

_SQL = load("projections.audit.audit")

_decode = (
    json.JSONDecoder().decode
)  # `json.loads` would first detect the encoding of bytes, which takes a quarter of its time


class Unfoldable(Exception):
    """An event cannot be understood, or not at its place. Nothing can be said about what comes after it."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"the event at position {position} {reason}")
        self.position = position


class Stored(NamedTuple):
    """An event: its place, its topic, the JSON of its envelope, and the JSON of the event itself."""

    stream: str
    version: int
    topic: str
    position: int
    envelope: dict[str, Any]
    data: dict[str, Any]

    @property
    def ledger(self) -> str:
        """The name of the ledger."""
        return self.stream.split("/", 1)[0]

    @property
    def name(self) -> str:
        """The last part of the stream's id: an account's address, a transaction's id."""
        return self.stream.split("/", 2)[-1]


def parsed(stream: str, version: int, topic: str, state: bytes, position: int) -> Stored:
    """Return the event of a row; raise `Unfoldable` if it is no JSON, of a newer release, or of an unknown topic."""
    try:
        envelope = _decode(state.decode())
        data, class_version = envelope["data"], envelope["class_version"]
        known = class_version <= CLASS_VERSIONS.get(topic, 0)
    except (ValueError, KeyError, TypeError) as error:
        raise Unfoldable(position, f"is not one that any release wrote: {error!r}") from error
    if not known:
        raise Unfoldable(position, f"is of a newer release: version {class_version} of {topic}")
    return Stored(stream, version, topic, position, envelope, data)


Row = tuple[Any, ...]


class Sample(NamedTuple):
    """The streams of accounts and of transactions to which a comparison is restricted."""

    accounts: frozenset[str]
    transactions: frozenset[str]

    @property
    def ledgers(self) -> frozenset[str]:
        """The names of the streams' ledgers."""
        return frozenset(stream.split("/", 1)[0] for stream in self.accounts | self.transactions)


class Journal(NamedTuple):
    """The journal as a projection has read it: up to a position, without the events at some positions.

    Of `discarded` events the projection has noted only that they exist, not their content: they have the topic
    `DISCARDED`. Every method reads through server-side cursors, a few thousand rows at a time, within the connection's
    transaction, and raises `Unfoldable`.
    """

    connection: Connection[Any]
    upto: int
    without: Collection[int] = frozenset()
    discarded: Collection[int] = frozenset()
    sample: Sample | None = None

    def of_topics(self, *topics: str) -> Iterator[Stored]:
        """Return the events of some topics, or of all if none is named, in the order of positions."""
        return self._read("whole", topics=list(topics) or None)

    def accounts(self) -> Iterator[tuple[str, Iterator[Stored]]]:
        """Return the streams of all accounts, or of the sample's, by name, each with its events in order."""
        if self.sample is None:
            events = self._read("accounts")
        else:
            events = self.of_streams(self.sample.accounts)
        return groupby(events, attrgetter("stream"))

    def of_streams(self, streams: Collection[str]) -> Iterator[Stored]:
        """Return the events of some streams, one stream after another."""
        return self._read("streams", streams=sorted(streams))

    def of_stream(self, stream: str) -> list[Stored]:
        """Return the events of one short stream, at once and without a cursor."""
        values = {"upto": self.upto, "streams": [stream]}
        return _SQL["streams"].rows(self.connection, values, into=parsed, binary=True)

    def made(self) -> Iterator[tuple[Stored, list[Stored]]]:
        """Return the events that made transactions, in the order of positions, with the later events of their streams.

        If there is a sample, only those of its transactions.
        """
        if self.sample is not None:
            yield from sorted(self._made_of_sample(self.sample), key=lambda found: found[0].position)
            return
        for position, rows in groupby(self._rows("made", topics=list(MADE)), key=lambda row: row[4]):
            first, *others = rows
            if position not in self.without and position not in self.discarded:
                later = ((row[0], *row[5:]) for row in (first, *others) if row[8] is not None)
                yield parsed(*first[:5]), list(self._parsed(later))

    def _made_of_sample(self, sample: Sample) -> Iterator[tuple[Stored, list[Stored]]]:
        for _, events in groupby(self.of_streams(sample.transactions), attrgetter("stream")):
            later = list(events)
            while later and later[0].topic not in MADE:  # an acceptance may come first
                later.pop(0)
            if later:
                yield later[0], later[1:]

    def as_stored(self) -> Iterator[Row]:
        """Return all events as they are stored, in the order of positions: stream, version, topic, bytes, position."""
        return self._rows("whole", topics=None)

    def _read(self, query: str, **values: Any) -> Iterator[Stored]:
        return self._parsed(self._rows(query, **values))

    def _parsed(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[Stored]:
        for row in rows:
            if row[4] in self.discarded:
                yield Stored(row[0], row[1], DISCARDED, row[4], {}, {})
            elif row[4] not in self.without:
                yield parsed(*row)

    def _rows(self, query: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        return rows_of(self.connection, _SQL[query], {"upto": self.upto, **values})


def rows_of(connection: Connection[Any], query: str, values: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Return the rows of a query through a server-side cursor, within the connection's transaction."""
    with connection.cursor(f"audit_{uuid4().hex}", row_factory=tuple_row) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(query, values, binary=True)
        yield from cursor
