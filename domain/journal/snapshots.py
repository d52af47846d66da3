"""Snapshots: folded aggregates, so that a long stream loads in milliseconds.

A thread of its own takes them, never a request's transaction. They hold no truth: losing all of them costs only time.

The version of their form is part of their topic. Of two releases side by side, each reads the forms that it can. It
upcasts older forms, like events. It passes over newer ones, and folds the aggregate from an older snapshot or from the
first event. Raise `ACCOUNT_FORM` and add an upcast whenever the members of `Account` change, and also whenever an event
of accounts is added or its version raised. A snapshot hides the events before it, and a release that does not know one
of these events must meet it, so that it refuses to write (domain/model/events.py).
"""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import psycopg
import structlog
from psycopg import Connection

from domain.journal.arrays import bigint_array, bytea_array, text_array
from domain.journal.database import Database
from domain.journal.outage import is_lost, outage_of
from domain.journal.queries import load
from domain.journal.weights import weight_of
from domain.model.accounts import Account, AccountOpened
from domain.model.events import State

SNAPSHOT_EVERY = 20
"""The number of versions between two snapshots of a stream. Loading folds fewer than about this many events.

Folding an event costs 4 µs in PostgreSQL and 4 µs here at each load. A snapshot costs about 40 µs, once, and 550 bytes,
which is 3% of its twenty events. Accounts are loaded by every confirmation read, and, once the cache is full, by
writes.
"""

ENOUGH_AT_ONCE = 200
"""Flush after this many snapshots. One more commit's accounts may be added to that."""

REST_SECONDS = 0.1
"""How long the first one waits for others. A commit of one transfer has a snapshot to take in one of ten cases, and
keeping it by itself takes the machine half a millisecond."""

SNAPSHOT_BYTES = 1_000
MAX_WAITING_BYTES = 16 * 1024**2
"""How many bytes may wait, counted as `SNAPSHOT_BYTES` and metadata for each account; more are dropped."""

Upcast = Callable[[dict[str, Any]], None]
"""Changes the stored members of one form, in place, to those of the next."""

ACCOUNT_FORM = 1
UPCASTS: Mapping[int, Upcast | str] = {}
"""For each older form, the upcast to the next form, or the reason why there is none and events are folded instead."""

_SQL = load("domain.journal.journal")
_log = structlog.get_logger(__name__)


def topic_of(form: int) -> str:
    """Return the topic of the snapshots of a form."""
    return f"account.snapshot.{form}"


def readable_forms(present: int, upcasts: Mapping[int, Upcast | str]) -> list[int]:
    """Return the forms that can be upcast to the present one, newest first, beginning with the present one."""
    forms = [present]
    while callable(upcasts.get(forms[-1] - 1)):
        forms.append(forms[-1] - 1)
    return forms


ACCOUNT_TOPIC = topic_of(ACCOUNT_FORM)
FORMS = {topic_of(form): form for form in readable_forms(ACCOUNT_FORM, UPCASTS)}
TOPICS = list(FORMS)
"""The topics of the snapshots that this release reads. It passes over all others."""


def encode_snapshot(account: Account) -> bytes:
    """Return the stored form of an account's state."""
    return msgspec.json.encode(account)


def decode_snapshot(state: bytes, topic: str = ACCOUNT_TOPIC) -> Account:
    """Return the account of a stored snapshot. `topic` must be one of `TOPICS`."""
    fields: dict[str, Any] = msgspec.json.decode(state)
    for form in range(FORMS[topic], ACCOUNT_FORM):
        upcast = UPCASTS[form]
        assert callable(upcast)
        upcast(fields)
    return Account(**{**fields, "opening": msgspec.convert(fields["opening"], AccountOpened)})


def keep(connection: Connection[Any], items: Sequence[tuple[str, Account]]) -> None:
    """Write snapshots of accounts, given each with its stream."""
    _SQL["keep_snapshots"].run(
        connection,
        {
            "streams": text_array([stream for stream, _ in items]),
            "versions": bigint_array([account.version for _, account in items]),
            "topic": ACCOUNT_TOPIC,
            "states": bytea_array([encode_snapshot(account) for _, account in items]),
        },
    )


class Snapshotter:
    """Writes snapshots of the states given to it, as time permits. If too many wait, it drops some."""

    def __init__(self, database: Database, backlog: int = 100) -> None:
        """`backlog` is the number of commits whose states may wait."""
        self._database = database
        self._waiting: queue.Queue[Sequence[tuple[str, Account]] | None] = queue.Queue(backlog)
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Write the waiting snapshots, then end."""
        self._stopping.set()
        self._waiting.put(None)
        self._thread.join(timeout_seconds)

    def consider(self, changed: Iterable[tuple[str, State, Account]]) -> None:
        """Take snapshots of accounts whose committed version has passed a multiple of `SNAPSHOT_EVERY`.

        `changed` lists, for each account that a commit changed, its stream, its state before and its state after.
        """
        passed = [
            (stream, after)
            for stream, before, after in changed
            if after.version // SNAPSHOT_EVERY != (before.version if before else 0) // SNAPSHOT_EVERY
        ]
        if passed and not self._waiting.full() and self._waiting_bytes < MAX_WAITING_BYTES:
            self._count_bytes(passed, 1)
            self._waiting.put_nowait(passed)

    def _count_bytes(self, items: Sequence[tuple[str, Account]], sign: int) -> None:
        waiting_bytes = sum(SNAPSHOT_BYTES + weight_of(account) for _, account in items)
        with self._lock:
            self._waiting_bytes += sign * waiting_bytes

    def _run(self) -> None:
        connection: Connection[Any] | None = None
        while items := self._gather():
            try:
                connection = connection or self._connect()
                keep(connection, items)
                outage_of(self._database).back("snapshots")
            except psycopg.Error as error:
                if is_lost(error):
                    outage_of(self._database).lost("snapshots", error, when_asked=True)
                else:
                    _log.warning("snapshots not written", snapshots=len(items), error=type(error).__name__)
                if connection:
                    connection.close()
                connection = None
        if connection:
            connection.close()

    def _gather(self) -> list[tuple[str, Account]]:
        """Wait for states and return them with others that wait; an empty list when it is time to end."""
        items: list[tuple[str, Account]] = []
        while (passed := self._waiting.get()) is not None:
            if not items and self._waiting.empty():
                self._stopping.wait(REST_SECONDS)
            self._count_bytes(passed, -1)
            items += passed
            if self._waiting.empty() or len(items) >= ENOUGH_AT_ONCE:
                return items
        if items:
            self._waiting.put(None)  # write these first, then end
        return items

    def _connect(self) -> Connection[Any]:
        connection = self._database.connect("tallystick snapshots")
        # Losing a snapshot in a crash does no harm, and the journal's commits need not wait until it is on disk.
        connection.execute("SET synchronous_commit = off")
        return connection
