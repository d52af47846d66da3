"""The log of replays: repeated keyed requests are counted here and written in the background.

A replay is answered without a writing transaction, and this log must not add one. At most `MAX_WAITING_REPLAYS` counts
wait at a time; the rest is logged as not counted.
"""

import threading
from collections.abc import Callable

import psycopg
import structlog

from api.service.connections import connected
from domain.application import LedgerApplication, system_clock
from domain.commit.decider import Result
from domain.journal.outage import is_lost, outage_of
from domain.model.commands import Command
from domain.model.errors import IdempotencyKeyReused, LedgerError
from domain.model.streams import ledger_of
from domain.model.times import Instant
from projections.diagnosis.request_replays import ReplayKind, Replays, add_replays

MAX_WAITING_REPLAYS = 10_000
GATHER_SECONDS = 1.0

WORDS_OF_REPLAYS = frozenset({"replayed", IdempotencyKeyReused.code})
"""What becomes of the commands that are counted here, in the words of `word_of`."""

_log = structlog.get_logger(__name__)


class ReplayLog:
    """Counts replays, and writes them once a second in a thread of its own."""

    def __init__(self, ledger: LedgerApplication, clock: Callable[[], Instant] = system_clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str, str, ReplayKind], Replays] = {}
        self._uncounted = 0
        self._is_any = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay log", daemon=True)

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, if the database can be reached, and stop."""
        self._stopping.set()
        self._is_any.set()
        self._thread.join()

    def note(self, command: Command, result: Result) -> None:
        """Count a keyed command if its key was known before."""
        if isinstance(result, IdempotencyKeyReused):
            self._count(command, "mismatched")
        elif not isinstance(result, Exception) and result.replayed:
            self._count(command, "replayed")

    def _count(self, command: Command, kind: ReplayKind) -> None:
        operation, stream = command.operation, command.own_stream
        if operation is None or stream is None:
            return
        actor, correlation_id, _ = command.context
        now = self._clock()
        replay = Replays(
            ledger=ledger_of(stream),
            operation_id=operation.id,
            actor=actor,
            kind=kind,
            times=1,
            first_at=now,
            last_at=now,
            last_correlation_id=correlation_id,
        )
        self._add([replay])
        self._is_any.set()

    def _add(self, seen: list[Replays]) -> None:
        with self._lock:
            for replays in seen:
                key = replays.ledger, replays.operation_id, replays.actor, replays.kind
                known = self._waiting.get(key)
                if known is not None:
                    self._waiting[key] = _together(known, replays)
                elif len(self._waiting) < MAX_WAITING_REPLAYS:
                    self._waiting[key] = replays
                else:
                    self._uncounted += replays.times

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._is_any.wait()
            self._stopping.wait(GATHER_SECONDS)
            self._is_any.clear()
            self._write()
        # What was noted while the last lines were written waits still.
        self._write()

    def _write(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            uncounted, self._uncounted = self._uncounted, 0
        if uncounted:
            _log.warning("replays were not counted", count=uncounted)
        if not waiting:
            return
        try:
            with connected(self._ledger) as connection:
                add_replays(connection, list(waiting.values()))
            outage_of(self._ledger.datastore.database).back("replay log")
        except (psycopg.Error, LedgerError) as error:
            if is_lost(error):
                outage_of(self._ledger.datastore.database).lost("replay log", error, when_asked=True)
            else:
                _log.warning("replays wait to be written", count=len(waiting), error=repr(error))
            self._add(list(waiting.values()))
            self._is_any.set()


def _together(one: Replays, other: Replays) -> Replays:
    first, last = sorted((one, other), key=lambda replays: replays.last_at)
    return last._replace(
        times=one.times + other.times, first_at=min(first.first_at, last.first_at), last_at=last.last_at
    )
