"""Patience: every caller that waits for the journal is answered in time, whatever the writer's thread waits for.

The writer's thread may hang in a statement that the server does not answer, or try again and again for a lock that
somebody holds. Each caller behind it has its own deadline, counted from its request. If the deadline is over and the
journal is in trouble, the caller is told so. Commands that were begun may still be committed, and the idempotency key
will tell. A writer that is merely busy keeps its callers waiting: their turn will come.
"""

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import structlog

from domain.journal.outage import Outage
from domain.model.errors import JournalUnavailable

LOOK_SECONDS = 0.1
# After others have the database again, until the writer has.
RECOVERY_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class PendingAnswer:
    """Answers once. The first to give results wins, and later results are dropped."""

    __slots__ = ("_number", "_patience", "_reply", "give_up_at", "is_given")

    def __init__(
        self, patience: "Patience", reply: Callable[[Sequence[Any]], None], number: int, give_up_at: float
    ) -> None:
        """`number` is the number of commands. `give_up_at` is in seconds of the monotonic clock."""
        self._patience = patience
        self._reply = reply
        self._number = number
        self.give_up_at = give_up_at
        self.is_given = False

    def __call__(self, results: Sequence[Any]) -> None:
        """Give the results, unless an answer was given before."""
        if self._patience.settle(self):
            self._reply(results)

    def give_up(self, reason: str) -> None:
        """Answer that the journal is unavailable, unless an answer was given before."""
        try:
            self([JournalUnavailable(reason) for _ in range(self._number)])
        except Exception:  # noqa: BLE001  a fault in one caller's `reply` must not keep others waiting
            _log.exception("reply failed")


class Patience:
    """The waiting callers, and a thread that watches their deadlines."""

    def __init__(
        self,
        trouble: Callable[[], str | None],
        outage: Outage,
        database_outage: Outage,
        clock: Callable[[], float],
    ) -> None:
        """`trouble` returns why the journal is unavailable, or None while it is available. `clock` counts seconds.

        `outage` is the writer's: it logs that callers are refused, and the writer logs when that is over. It says
        nothing during `database_outage`, which is said already.
        """
        self._trouble = trouble
        self._outage = outage
        self._database_outage = database_outage
        self._clock = clock
        self._waiting: set[PendingAnswer] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="patience", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def answer(self, reply: Callable[[Sequence[Any]], None], number: int, give_up_at: float) -> PendingAnswer:
        """Return the pending answer for a caller that waits until `give_up_at`."""
        answer = PendingAnswer(self, reply, number, give_up_at)
        with self._lock:
            self._waiting.add(answer)
        return answer

    def settle(self, answer: PendingAnswer) -> bool:
        """Note that an answer is given, and tell whether it is the first."""
        with self._lock:
            if answer.is_given:
                return False
            answer.is_given = True
            self._waiting.discard(answer)
            return True

    def look(self) -> None:
        """If the journal is in trouble, answer the callers whose deadline is over."""
        reason = self._trouble()
        if reason is None:
            return
        now = self._clock()
        with self._lock:
            late = [answer for answer in self._waiting if answer.give_up_at <= now]
        if late and not self._database_outage.was_on(monotonic() - RECOVERY_SECONDS):  # which is said already
            self._outage.lost("writer", JournalUnavailable(reason))
        for answer in late:
            answer.give_up(reason)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.look()
