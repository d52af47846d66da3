"""Patience: whoever waits for the journal is answered in time, whatever the writer's thread waits for.

That thread may hang in a statement that the server does not answer, or try again and again for a lock that somebody
holds. Those who wait behind it have a time of their own each, from when they asked. Once that is over and the journal
is in trouble they are told so; what has been begun may still take place, and its key will tell. A writer that is merely
busy keeps them waiting: their turn will come.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from domain.journal.outage import DATABASE, Outage
from domain.model.errors import JournalUnavailable

LOOK_SECONDS = 0.1
# After others have the database again, until the writer has.
RECOVERY_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class PendingAnswer:
    """Answers once: the first to give the results wins, and what comes later is dropped."""

    __slots__ = ("_number", "_patience", "_reply", "give_up_at", "is_given")

    def __init__(
        self, patience: "Patience", reply: Callable[[Sequence[Any]], None], number: int, give_up_at: float
    ) -> None:
        """`number` is of how many commands, `give_up_at` by the monotonic clock."""
        self._patience = patience
        self._reply = reply
        self._number = number
        self.give_up_at = give_up_at
        self.is_given = False

    def __call__(self, results: Sequence[Any]) -> None:
        """Give the results, unless others were given."""
        if self._patience.settle(self):
            self._reply(results)

    def give_up(self, reason: str) -> None:
        """Say that the journal is unavailable, unless results were given."""
        try:
            self([JournalUnavailable(reason) for _ in range(self._number)])
        except Exception:  # noqa: BLE001  the asker's fault must not keep others waiting
            _log.exception("reply failed")


class Patience:
    """Those who wait, and a thread that sees for how long."""

    def __init__(self, trouble: Callable[[], str | None], outage: Outage, clock: Callable[[], float]) -> None:
        """`trouble` tells why the journal is unavailable, None while it is not; `clock` counts seconds.

        That somebody is answered so is said as the `outage` of the writer, who says when it is over.
        """
        self._trouble = trouble
        self._outage = outage
        self._clock = clock
        self._waiting: set[PendingAnswer] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="patience", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def answer(self, reply: Callable[[Sequence[Any]], None], number: int, give_up_at: float) -> PendingAnswer:
        """Return the answer to somebody who waits until then."""
        answer = PendingAnswer(self, reply, number, give_up_at)
        with self._lock:
            self._waiting.add(answer)
        return answer

    def settle(self, answer: PendingAnswer) -> bool:
        """Take note that an answer is given; tell whether it is the first."""
        with self._lock:
            if answer.is_given:
                return False
            answer.is_given = True
            self._waiting.discard(answer)
            return True

    def look(self) -> None:
        """Answer those whose time is over, if the journal is in trouble."""
        reason = self._trouble()
        if reason is None:
            return
        now = self._clock()
        with self._lock:
            late = [answer for answer in self._waiting if answer.give_up_at <= now]
        if late and not DATABASE.was_on(RECOVERY_SECONDS):  # which is said already
            self._outage.lost("writer", JournalUnavailable(reason))
        for answer in late:
            answer.give_up(reason)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.look()
