"""Snapshots: folded aggregates, so that a long stream loads in milliseconds.

Taken out of band, by a thread of their own and never in a request's transaction. They are no truth: losing all of them
costs time only. The version of their form is part of their topic, so two releases side by side each find their own.
"""

import queue
import threading
from typing import Any

import msgspec
import psycopg
import structlog
from psycopg import Connection

from domain.accounts import Account, AccountOpened
from domain.events import State
from domain.journal.database import Database
from domain.journal.queries import load

SNAPSHOT_EVERY = 100
"""Versions between two snapshots of a stream: loading folds fewer than about this many events."""

ACCOUNT_TOPIC = "account.snapshot.1"
TOPICS = [ACCOUNT_TOPIC]

_SQL = load("domain.journal", "journal.sql")
_log = structlog.get_logger(__name__)


def encode_snapshot(account: Account) -> bytes:
    """Return the stored form of an account's state."""
    return msgspec.json.encode(account._asdict())


def decode_snapshot(state: bytes) -> Account:
    """Return the account of a stored snapshot."""
    fields: dict[str, Any] = msgspec.json.decode(state)
    return Account(**{**fields, "opening": msgspec.convert(fields["opening"], AccountOpened)})


class Snapshotter:
    """Writes snapshots of the states given to it, as time permits; what it has no room for it leaves out."""

    def __init__(self, database: Database, backlog: int = 1000) -> None:
        self._database = database
        self._waiting: queue.Queue[tuple[str, Account] | None] = queue.Queue(backlog)
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits, then end."""
        self._waiting.put(None)
        self._thread.join(timeout_seconds)

    def consider(self, stream: str, before: State, after: Account) -> None:
        """Take a snapshot if an account's committed state has passed a multiple of `SNAPSHOT_EVERY`."""
        passed = after.version // SNAPSHOT_EVERY != (before.version if before else 0) // SNAPSHOT_EVERY
        if passed and not self._waiting.full():
            self._waiting.put_nowait((stream, after))

    def _run(self) -> None:
        connection: Connection[Any] | None = None
        while (item := self._waiting.get()) is not None:
            try:
                connection = connection or self._database.connect("tallystick snapshots")
                self._keep(connection, *item)
            except psycopg.Error as error:
                _log.warning("snapshot not kept", stream=item[0], error=type(error).__name__)
                if connection:
                    connection.close()
                connection = None
        if connection:
            connection.close()

    def _keep(self, connection: Connection[Any], stream: str, account: Account) -> None:
        connection.execute(
            _SQL["keep_snapshot"],
            {
                "stream": stream,
                "version": account.version,
                "topic": ACCOUNT_TOPIC,
                "state": encode_snapshot(account),
            },
        )
