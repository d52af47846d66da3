"""The journal listener: the one connection of a process that is notified of commits, for all who follow the journal.

PostgreSQL wakes every listening process for every commit. One connection for each projection would cost a
twentieth of a saturated machine.
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
    """Counts notifications. Some can be missed, so those who wait for them also look at the journal by themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = threading.Condition()
        self.count = 0
        """How many times events are known to have arrived."""

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
        """Block until the count differs from `known`, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.count != known, timeout_seconds)

    def _listen(self, stop: threading.Event) -> None:
        with self._database.connect("tallystick arrivals") as connection:
            connection.execute(SQL("LISTEN {}").format(Identifier(self._database.journal_channel)))
            DATABASE.back(_PART)
            self._note()  # for commits before this connection listened
            while not stop.is_set():
                for _ in connection.notifies(timeout=CHECK_SECONDS):
                    self._note()
                    if stop.is_set():
                        break

    def _note(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()
