"""The writer's connection to the journal: lock the head, load streams, append, commit.

The holder of the head's lock gives out the positions. `domain/commit/group_commit.py` says who decides and when.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple

from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from domain.journal.arrays import bigint_array, bytea_array, text_array, word_array
from domain.journal.database import Database
from domain.journal.queries import load
from domain.journal.reader import LOAD, MOVEMENTS, MissedEvent, Row, read_aggregates, whole_rows
from domain.journal.silence import bound_transactions
from domain.journal.snapshots import TOPICS
from domain.journal.statements import Bound, Statement, Statements
from domain.model.events import State
from domain.model.moves import Fence
from domain.model.times import EARLIEST, Instant, moment

LOCK_TIMEOUT_SECONDS = 3
"""How long a statement waits for a lock before the holder is reported and the statement is tried again."""

OVERDUE_SECONDS = 10.0
"""How long the server may take for a statement that writes little. If it takes longer, it hangs or is gone."""

ANNOUNCE_SECONDS = 0.005
"""How far apart the announcements of one writer are at least. No commit goes unannounced for longer than twice as long
and what the command that comes next takes.

Who follows the journal lets events collect for as long as this or longer. And each announcement wakes every session of
the database that listens to anything, before the commit is acknowledged: for one caller who waits for each answer, five
sessions took a tenth of the processors' time for a transfer.
"""

APPENDED_EVENTS_PER_SECOND = 1_000
"""How fast the slowest server appends. A large batch may take longer by this rate."""

_SQL = load("domain.journal.journal")
_BEGIN = Statement("begin", "BEGIN")
_COMMIT = Statement("commit", "COMMIT")
_ROLLBACK = Statement("rollback", "ROLLBACK")
_LOCK_HEAD = Statement("lock_head", _SQL["lock_head"])
_LOAD = Statement("load", LOAD)
_MISSED = Statement("missed", _SQL["missed"])
_APPEND = Statement("append", _SQL["append"])
_ANNOUNCE = Statement("announce", _SQL["announce"])
_STORED_AFTER = Statement("stored_after", _SQL["stored_after"])
_FENCES = Statement("fences", _SQL["fences"])
_IDLE = TransactionStatus.IDLE


class Rows(NamedTuple):
    """Events to append after a position, in columns, as they are sent. All lists have the same length.

    `states` are abbreviated; `shares` says how many positions before each event stands the one whose envelope it
    shares, and `WHOLE` that its state is not abbreviated (domain/journal/abbreviations.py).
    """

    after: int
    streams: list[str]
    versions: list[int]
    topics: list[str]
    states: list[bytes]
    shares: list[int]

    @property
    def last(self) -> int:
        """The position of the last event, or `after` if there are none."""
        return self.after + len(self.streams)

    def values(
        self, recorded_at: Instant, clock: Instant | None = None, read_at_seconds: float = 0.0
    ) -> Mapping[str, Any]:
        """Return the parameters of the query `append`, except those that the writer adds.

        `recorded_at` is the time to record the events with. `clock` is the clock's time at `read_at_seconds` of
        `monotonic`, or None if the clock is not to be checked.
        """
        return {
            "after": self.after,
            "last": self.last,
            "recorded_at": recorded_at,
            "clock": clock,
            "read_at_seconds": read_at_seconds,
            "age_seconds": 0.0,
            "limit": None,
            "announces": True,
            "streams": text_array(self.streams),
            "versions": bigint_array(self.versions),
            "topics": word_array(self.topics),
            "states": bytea_array(self.states),
            "shares": bigint_array(self.shares),
        }


class Head(NamedTuple):
    """The newest position of the journal, and the time at which it was recorded."""

    position: int
    recorded_at: Instant


class Span(NamedTuple):
    """The events after a position, up to and including another."""

    after: int
    until: int


class Locked(NamedTuple):
    """What a writer finds when it takes the lock: the head, the streams that it loads, the events that it missed."""

    head: Head
    loaded: list[Row]
    missed: list[MissedEvent]


class ClockDiffers(Exception):
    """This machine's clock and the database's differ by more than is allowed, so nothing was recorded."""


class Timekeeping(NamedTuple):
    """A writer's clock, and how much it may differ from the database's. None: the difference is not checked."""

    clock: Callable[[], Instant] = lambda: EARLIEST
    max_difference_seconds: float | None = None


class JournalWriter:
    """One connection that writes. Every method raises `psycopg.Error`; call `disconnect` after that."""

    def __init__(
        self,
        database: Database,
        application_name: str,
        timekeeping: Timekeeping = Timekeeping(),  # noqa: B008  immutable
    ) -> None:
        self._database = database
        self._application_name = application_name
        self._channel = database.journal_channel
        self._timekeeping = timekeeping
        self._statements: Statements | None = None
        self._overdue_at: float | None = None
        self._has_standby = False
        """Whether a commit of the transaction that `lock` began waits for a synchronous standby."""
        self._announce_at = 0.0
        self._owed_since: float | None = None

    @property
    def is_overdue(self) -> bool:
        """Whether the server has exceeded its time to answer. Any thread may ask."""
        overdue_at = self._overdue_at
        return overdue_at is not None and monotonic() > overdue_at

    @property
    def owes_announcement(self) -> bool:
        """Whether followers were not told of the newest commit. Call `announce` if no other follows soon."""
        return self._owed_since is not None

    @property
    def is_announcement_late(self) -> bool:
        """Whether they wait for so long that it must not wait for the next commit: what follows may record nothing."""
        return self._owed_since is not None and monotonic() >= self._owed_since + 2 * ANNOUNCE_SECONDS

    def lock(self, streams: Collection[str], missed: Span | None = None) -> Locked:
        """Begin a transaction, take the head's lock, load streams, and read what others have appended. One round trip.

        Each statement after the lock sees all that was committed before. Raises `ClockDiffers` after ending the
        transaction.
        """
        with self._asking() as statements:
            asked = [Bound(_BEGIN, {}), Bound(_LOCK_HEAD, {}, has_rows=True)]
            if streams:
                asked.append(_loading(streams))
            if missed:
                asked.append(_missing(missed))
            read_at, clock = monotonic(), self._timekeeping.clock()
            _, locking, *answers = map(statements.rows, statements.run_together(*asked))
            ((position, recorded_at, asked_at, self._has_standby),) = locking
            if self._is_wrong(clock, monotonic() - read_at, asked_at):
                statements.run(Bound(_ROLLBACK, {}))
                raise ClockDiffers
            loaded = whole_rows(answers.pop(0)) if streams else []
            return Locked(Head(position, recorded_at), loaded, answers.pop(0) if missed else [])

    def _is_wrong(self, clock: Instant, elapsed_seconds: float, server_seconds: float) -> bool:
        """Tell whether our clock differs from the server's, which was read at some moment of `elapsed_seconds`."""
        limit = self._timekeeping.max_difference_seconds
        if limit is None:
            return False
        own = moment(clock).timestamp()
        return not own - limit <= server_seconds <= own + elapsed_seconds + limit

    def load(self, streams: Collection[str]) -> list[Row]:
        """Return, for each stream, the newest snapshot and the events after it."""
        with self._asking() as statements:
            return whole_rows(statements.rows(statements.run(_loading(streams))))

    def present(self, streams: Sequence[str]) -> tuple[tuple[State, ...], int]:
        """Return the state of each stream, None if it has no events, and the head of the journal at the same instant.

        Takes no lock.
        """
        with self._asking() as statements:
            return read_aggregates(statements.connection, streams)

    def missed(self, span: Span) -> list[MissedEvent]:
        """Return the events in a span, in their order, but for those of transactions."""
        with self._asking() as statements:
            return statements.rows(statements.run(_missing(span)))

    def fences(self) -> dict[str, Fence]:
        """Return the ledgers for which nothing is recorded here, as they are now."""
        with self._asking() as statements:
            found = statements.rows(statements.run(Bound(_FENCES, {}, has_rows=True)))
            return {ledger: Fence(state, installation) for ledger, state, installation in found}

    def append(self, values: Mapping[str, Any]) -> bool:
        """Append rows, given their `values`, in a transaction of their own. One round trip.

        Returns whether they were appended. If not, the head is elsewhere or the clock differs, which `lock` tells, and
        nothing was recorded. An error may come after the commit took place, and `contains` then tells. After an
        `IntegrityError` nothing was recorded.
        """
        self._overdue_at = _overdue_at(values)  # by hand: `_asking` calls ten functions more
        try:
            statements = self._statements or self._connect()
            if statements.connection.pgconn.transaction_status != _IDLE:
                raise AssertionError("what is appended within another transaction is not committed by itself")
            appending = self._appending(values)
            return self._is_appended(appending, statements.run(appending))
        finally:
            self._overdue_at = None

    def append_locked(self, values: Mapping[str, Any]) -> None:
        """Append rows in the transaction that `lock` began, and ask for its commit. One round trip.

        An error may come after the commit took place, and `contains` then tells. After `ClockDiffers` nothing was
        recorded.
        """
        with self._asking(values) as statements:
            appending = self._appending(values)
            appended, _ = statements.run_together(appending, Bound(_COMMIT, {}))
            if not self._is_appended(appending, appended):
                if self._timekeeping.max_difference_seconds is None:
                    raise AssertionError("rows do not begin at the head that was locked")
                raise ClockDiffers

    def announce(self) -> None:
        """Tell followers how far the journal is."""
        with self._asking() as statements:
            statements.run(Bound(_ANNOUNCE, {"channel": self._channel}))
        self._announced()

    def contains(self, rows: Rows) -> bool:
        """Tell whether the journal holds these rows. The caller holds the head's lock, so nothing is in flight.

        Some of them may be another writer's, of a request that both were sent, so all are compared. Whether a standby
        has them is known after `release`.
        """
        with self._asking() as statements:
            asked = Bound(_STORED_AFTER, {"after": rows.after, "last": rows.last}, has_rows=True)
            is_there = statements.rows(statements.run(asked)) == list(zip(*rows[1:], strict=True))
        if is_there:
            self._owe()  # whether their commit was announced is forgotten with the connection that was lost
        return is_there

    def release(self) -> None:
        """End the transaction without appending. This frees the lock.

        With a synchronous standby, it returns once all that was read is replicated: the lock is written to the log, so
        its commit waits for the standby (session.py).
        """
        with self._asking() as statements:
            statements.run(Bound(_COMMIT if self._has_standby else _ROLLBACK, {}))

    def disconnect(self) -> None:
        """Close the connection. The next call opens another.

        What is unannounced stays so: followers also look by themselves.
        """
        self._owed_since = None
        statements, self._statements = self._statements, None
        if statements is not None:
            statements.connection.close()

    def _appending(self, values: Mapping[str, Any]) -> Bound:
        now = monotonic()
        wanted = {
            **values,
            "channel": self._channel,
            "limit": self._timekeeping.max_difference_seconds,
            "age_seconds": now - values["read_at_seconds"],
            "announces": now >= self._announce_at,
        }
        return Bound(_APPEND, wanted)

    def _is_appended(self, appending: Bound, appended: PGresult) -> bool:
        is_appended = appended.ntuples == 1
        if is_appended and appending.values["announces"]:
            self._announced()
        elif is_appended:
            self._owe()
        return is_appended

    def _owe(self) -> None:
        if self._owed_since is None:
            self._owed_since = monotonic()

    def _announced(self) -> None:
        self._announce_at = monotonic() + ANNOUNCE_SECONDS
        self._owed_since = None

    @contextmanager
    def _asking(self, values: Mapping[str, Any] | None = None) -> Iterator[Statements]:
        """Yield the connection, opened if need be, for one question, and note when the answer is overdue."""
        self._overdue_at = _overdue_at(values)
        try:
            yield self._statements or self._connect()
        finally:
            self._overdue_at = None

    def _connect(self) -> Statements:
        connection = self._database.connect(self._application_name)
        self._statements = Statements(connection)
        _SQL["knows_fences"].run(connection)
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        # If a writer stops while it holds the lock, the server ends its transaction, so that others can continue.
        bound_transactions(connection)
        return self._statements


def _overdue_at(values: Mapping[str, Any] | None) -> float:
    """Return when the answer to a question is overdue that is asked now, by the monotonic clock."""
    events = values["last"] - values["after"] if values else 0
    return monotonic() + OVERDUE_SECONDS + events / APPENDED_EVENTS_PER_SECOND


def _loading(streams: Collection[str]) -> Bound:
    wanted = {"streams": text_array(streams), "snapshot_topics": word_array(TOPICS)}
    return Bound(_LOAD, wanted, has_rows=True)


def _missing(span: Span) -> Bound:
    return Bound(_MISSED, {**span._asdict(), "movements": word_array(MOVEMENTS)}, has_rows=True)
