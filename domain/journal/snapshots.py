"""Snapshots: folded aggregates, so that a long stream loads in milliseconds.

Taken out of band, by a thread of their own and never in a request's transaction. They are no truth: losing all of them
costs time only.

The version of their form is part of their topic. Two releases side by side read what each of them can: older forms by
way of upcasts, as events; newer ones are passed over, and what they stand for is folded from an older snapshot or from
the first event. `ACCOUNT_FORM` is raised, and an upcast added, whenever the members of `Account` change, and also
whenever an event of accounts is added or its version raised. A snapshot hides the events before it, and a release that
does not know one of these must meet it, so that it refuses to write (domain/model/events.py).
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
from domain.journal.outage import DATABASE, is_lost
from domain.journal.queries import load
from domain.journal.weights import weight_of
from domain.model.accounts import Account, AccountOpened
from domain.model.events import State

SNAPSHOT_EVERY = 20
"""Versions between two snapshots of a stream: loading folds fewer than about this many events.

An event to fold costs whoever loads 4 µs in PostgreSQL and 4 µs here; a snapshot some 40 µs, once, and 550 bytes, which
are 3% of the twenty events. Accounts are loaded by every confirmation read, and to be written once the cache is full.
"""

ENOUGH_AT_ONCE = 200
"""How many snapshots one statement is worth; no more than a commit changes accounts are added to them."""

SNAPSHOT_BYTES = 1_000
MAX_WAITING_BYTES = 16 * 1024**2
"""How much may wait to be written, of an account about so much beside its metadata; the rest is left out."""

Upcast = Callable[[dict[str, Any]], None]
"""Changes stored members of one form, in place, into those of the next."""

ACCOUNT_FORM = 1
UPCASTS: Mapping[int, Upcast | str] = {}
"""How a snapshot of each older form becomes one of the next; or why none does, so that events are folded instead."""

_SQL = load("domain.journal.journal")
_log = structlog.get_logger(__name__)


def topic_of(form: int) -> str:
    """Return the topic of snapshots of a form."""
    return f"account.snapshot.{form}"


def readable_forms(present: int, upcasts: Mapping[int, Upcast | str]) -> list[int]:
    """Return the forms, newest first, from which upcasts lead to the present one, that included."""
    forms = [present]
    while callable(upcasts.get(forms[-1] - 1)):
        forms.append(forms[-1] - 1)
    return forms


ACCOUNT_TOPIC = topic_of(ACCOUNT_FORM)
FORMS = {topic_of(form): form for form in readable_forms(ACCOUNT_FORM, UPCASTS)}
TOPICS = list(FORMS)
"""The topics of the snapshots that this release reads; all others it passes over."""


def encode_snapshot(account: Account) -> bytes:
    """Return the stored form of an account's state."""
    return msgspec.json.encode(account._asdict())


def decode_snapshot(state: bytes, topic: str = ACCOUNT_TOPIC) -> Account:
    """Return the account of a stored snapshot, whose topic is one of `TOPICS`."""
    fields: dict[str, Any] = msgspec.json.decode(state)
    for form in range(FORMS[topic], ACCOUNT_FORM):
        upcast = UPCASTS[form]
        assert callable(upcast)
        upcast(fields)
    return Account(**{**fields, "opening": msgspec.convert(fields["opening"], AccountOpened)})


class Snapshotter:
    """Writes snapshots of the states given to it, as time permits; what it has no room for it leaves out."""

    def __init__(self, database: Database, backlog: int = 100) -> None:
        """`backlog` is of how many commits states may wait."""
        self._database = database
        self._waiting: queue.Queue[Sequence[tuple[str, Account]] | None] = queue.Queue(backlog)
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits, then end."""
        self._waiting.put(None)
        self._thread.join(timeout_seconds)

    def consider(self, changed: Iterable[tuple[str, State, Account]]) -> None:
        """Take snapshots of accounts whose committed state has passed a multiple of `SNAPSHOT_EVERY`.

        Given are stream, state before and state after of each that a commit has changed.
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
                self._keep(connection, items)
                DATABASE.back("snapshots")
            except psycopg.Error as error:
                if is_lost(error):
                    DATABASE.lost("snapshots", error, when_asked=True)
                else:
                    _log.warning("snapshots not kept", snapshots=len(items), error=type(error).__name__)
                if connection:
                    connection.close()
                connection = None
        if connection:
            connection.close()

    def _gather(self) -> list[tuple[str, Account]]:
        """Wait for states and return them with others that wait; none when it is time to end."""
        items: list[tuple[str, Account]] = []
        while (passed := self._waiting.get()) is not None:
            self._count_bytes(passed, -1)
            items += passed
            if self._waiting.empty() or len(items) >= ENOUGH_AT_ONCE:
                return items
        if items:
            self._waiting.put(None)  # these first
        return items

    def _connect(self) -> Connection[Any]:
        connection = self._database.connect("tallystick snapshots")
        # A snapshot that a crash takes back is no loss, and the journal's commits do not wait for its way to the disk.
        connection.execute("SET synchronous_commit = off")
        return connection

    def _keep(self, connection: Connection[Any], items: Sequence[tuple[str, Account]]) -> None:
        connection.execute(
            _SQL["keep_snapshots"],
            {
                "streams": text_array([stream for stream, _ in items]),
                "versions": bigint_array([account.version for _, account in items]),
                "topic": ACCOUNT_TOPIC,
                "states": bytea_array([encode_snapshot(account) for _, account in items]),
            },
        )
