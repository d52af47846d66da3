"""Arrivals: the one connection of a process that is told of commits to the journal, for all who follow it there.

PostgreSQL wakes every process that listens for every commit. With a connection for each projection that was a
twentieth of what a saturated machine did.
"""

import threading

import psycopg
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.journal.outage import DATABASE, DENIALS, is_denied

CHECK_SECONDS = 0.25
RECONNECT_SECONDS = 0.5

_PART = "arrivals"


class JournalListener:
    """Counts what it is told. Notifications can be missed, so who waits for them looks by itself as well."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = threading.Condition()
        self.count = 0
        """How often events are known to have arrived."""

    def run(self, stop: threading.Event) -> None:
        """Listen until `stop` is set, whatever happens to the database meanwhile."""
        while not stop.is_set():
            try:
                self._listen(stop)
            except psycopg.Error as error:
                if is_denied(error):
                    DENIALS.note(error)
                else:
                    DATABASE.lost(_PART, error)
                stop.wait(RECONNECT_SECONDS)

    def wait(self, known: int, timeout_seconds: float) -> None:
        """Block until the count is another than the one that is known, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.count != known, timeout_seconds)

    def _listen(self, stop: threading.Event) -> None:
        with self._database.connect("tallystick arrivals") as connection:
            connection.execute(SQL("LISTEN {}").format(Identifier(self._database.journal_channel)))
            DATABASE.back(_PART)
            self._note()  # what came before this one listened
            while not stop.is_set():
                for _ in connection.notifies(timeout=CHECK_SECONDS):
                    self._note()
                    if stop.is_set():
                        break

    def _note(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()
