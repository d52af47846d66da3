"""Whether a provider answers, as far as the payer of one process finds by calling it.

A provider that has not answered for a while is silent. The log says so once, repeats it every minute while payouts
wait for it, and says once when the silence ends. Then every payout that was in doubt since before is due at once,
however long it would wait otherwise.
"""

import threading
from collections.abc import Callable
from time import monotonic

import structlog

from domain.model.times import Instant

SILENT_AFTER_SECONDS = 5.0
"""A provider is silent after this long without any answer. A single lost answer is not worth logging."""

REMIND_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class ProviderHealth:
    """What calls have shown of one provider. Its methods are called from several threads at once."""

    def __init__(self, provider: str, clock: Callable[[], Instant]) -> None:
        self._provider = provider
        self._clock = clock
        self._lock = threading.Lock()
        self._unanswered_since: float | None = None
        self._said_at: float | None = None
        self._reason = ""
        self._well_since: Instant | None = None

    @property
    def well_since(self) -> Instant | None:
        """When the provider answered again after a silence. None once every payout in doubt before was asked about."""
        with self._lock:
            return self._well_since

    def caught_up(self, well_since: Instant) -> None:
        """Note that no payout is left in doubt from before `well_since`."""
        with self._lock:
            if self._well_since == well_since:
                self._well_since = None

    def answered(self) -> None:
        """Note that a call was answered."""
        with self._lock:
            since, said_at = self._unanswered_since, self._said_at
            self._unanswered_since = self._said_at = None
            if said_at is None or since is None:
                return
            self._well_since = self._clock()
        silent_seconds = round(monotonic() - since, 1)
        _log.info("provider answers again", provider=self._provider, silent_seconds=silent_seconds)

    def did_not_answer(self, reason: str) -> None:
        """Note that a call was not answered, and why."""
        with self._lock:
            self._reason = reason
            if self._unanswered_since is None:
                self._unanswered_since = monotonic()
        self.remind()

    def not_awaited(self) -> None:
        """Note that no payout waits for it here, so nobody will find out whether it answers.

        The last may have been ended by another process or an operator, or moved elsewhere with its ledger.
        """
        with self._lock:
            said_at = self._said_at
            self._unanswered_since = self._said_at = None
        if said_at is not None:
            _log.info("nothing waits for the provider that was silent", provider=self._provider)

    def remind(self) -> None:
        """Log that the provider is silent, if it is and this was not logged within the last minute."""
        now = monotonic()
        with self._lock:
            since, said_at, reason = self._unanswered_since, self._said_at, self._reason
            if since is None or now - since < SILENT_AFTER_SECONDS:
                return
            if said_at is not None and now - said_at < REMIND_SECONDS:
                return
            self._said_at = now
        silent_seconds = round(now - since, 1)
        _log.error(
            "provider is silent", provider=self._provider, silent_seconds=silent_seconds, reason=reason
        )
