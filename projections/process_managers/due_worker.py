"""The worker: carries out accepted requests, and releases expired holds.

It finds due work in a read model and sends a command to the ledger, as any client would. The ledger ensures that the
work is done once, however often it is requested. So any number of workers may run, and one that dies leaves nothing
half done. One of them holds the place, so that they do not all ask; the others stand by. Releases that can read
different events have separate places, since one may not be able to do what the other has accepted.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as Late
from time import monotonic
from typing import Any

import structlog
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.application import LedgerApplication, system_clock
from domain.journal.database import Database
from domain.journal.reader import read_aggregates
from domain.model.commands import Command, Outcome
from domain.model.errors import JournalUnavailable, LedgerError
from domain.model.events import Context, State
from domain.model.holds import ExpireHold
from domain.model.postings import CompleteTransaction
from domain.model.registry import EVENT_SCHEMA_FINGERPRINT
from domain.model.streams import transaction_stream
from domain.model.times import Instant, later, seconds_until
from domain.model.transactions import Acceptance, Transaction
from projections.engine.leadership import Loop, Timekeeper, result_of
from projections.process_managers.announcements import wait_until_told
from projections.read_models.due_work import PROJECTION, DueTransaction, due_channel, list_due

ACTOR = "tallystick"
"""The actor that releases expired holds."""

MAX_AT_ONCE = 500
LOOK_SECONDS = 1.0
"""How far ahead it looks for due work. It looks again after this time, though nothing was announced."""

POLL_SECONDS = 0.2
"""How soon it looks again at a read model that does not show yet what it has done."""

ANSWER_TIMEOUT_SECONDS = 60.0
# Work that cannot be done, for example for an event of a newer release, must not hold up the rest.
SET_ASIDE_SECONDS = 10.0

_log = structlog.get_logger(__name__)


class Worker:
    """Does due work, in a thread of its own."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerApplication,
        clock: Callable[[], Instant] = system_clock,
        max_clock_difference_seconds: float | None = None,
    ) -> None:
        """A worker whose clock differs from the database's by more than the maximum leaves the place to others."""
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._timekeeper = Timekeeper(clock, max_clock_difference_seconds)
        self._stopping = threading.Event()
        place = ("work", f"{PROJECTION.name}/{EVENT_SCHEMA_FINGERPRINT}")
        loop = Loop(database, "worker", place, self._timekeeper.require_right, usual=(LedgerError, Late))
        work = (self._stopping, self._serve)
        self._thread = threading.Thread(target=loop.run, args=work, name="worker", daemon=True)
        self._done_at = 0
        self._set_aside: dict[str, float] = {}

    def start(self) -> None:
        """Start working."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what was begun, then end. The ledger must accept commands until then."""
        self._stopping.set()
        self._thread.join()

    def _serve(self, connection: Connection[Any]) -> None:
        connection.execute(SQL("LISTEN {}").format(Identifier(due_channel(self._database))))
        while not self._stopping.is_set():
            self._timekeeper.require_right(connection)
            wait_until_told(connection, self._stopping, self._work(connection))

    def _work(self, connection: Connection[Any]) -> float:
        """Do some of the due work; return in how many seconds there may be more, unless it is announced before."""
        self._set_aside = {id: until for id, until in self._set_aside.items() if until > monotonic()}
        now = self._clock()
        soon = list_due(connection, later(now, LOOK_SECONDS), MAX_AT_ONCE, self._set_aside)
        due = [work for work in soon.found if work.due_at <= now]
        if not due:
            return seconds_until(now, soon.found[0].due_at) if soon.found else LOOK_SECONDS
        if soon.position < self._done_at:
            return POLL_SECONDS
        self._do(connection, due)
        return 0.0

    def _do(self, connection: Connection[Any], due: Sequence[DueTransaction]) -> None:
        streams = [transaction_stream(ledger, id) for ledger, id, _, _ in due]
        states, _ = read_aggregates(connection, streams)
        commands = {of.id: _command(of, state) for of, state in zip(due, states, strict=True)}
        asked = {id: command for id, command in commands.items() if command}
        for id in commands.keys() - asked.keys():
            self._put_aside(id, "cannot be read by this release")
        executed = self._ledger.execute(*asked.values())
        results = result_of(connection, executed, ANSWER_TIMEOUT_SECONDS)
        for id, result in zip(asked, results, strict=True):
            if isinstance(result, Outcome):
                self._done_at = max(self._done_at, result.position)
            elif isinstance(result, JournalUnavailable) and result.is_of_the_journal:
                raise result  # this says nothing about the work, which is done once the journal is back
            else:
                self._put_aside(id, repr(result))

    def _put_aside(self, id: str, reason: str) -> None:
        _log.error("due work was not done", transaction_id=id, reason=reason)
        self._set_aside[id] = monotonic() + SET_ASIDE_SECONDS


def _command(due: DueTransaction, state: State) -> Command | None:
    """Return the command that does the due work, None if this release cannot tell which."""
    if isinstance(state, Acceptance):
        return CompleteTransaction(state)
    if isinstance(state, Transaction):
        return ExpireHold(Context(ACTOR, state.correlation_id), due.ledger, due.id)
    return None
