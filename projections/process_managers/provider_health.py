"""Whether a provider answers, as the payer of one process finds out by calling it.

A provider that answers nothing for a while is silent. That, and its end, are said once each in the log, with a reminder
a minute meanwhile. When it ends, every payout that is in doubt since before is due at once, however long it would wait.
"""

import threading
from collections.abc import Callable
from time import monotonic

import structlog

from domain.model.times import Instant

SILENT_AFTER_SECONDS = 5.0
"""For how long a provider must answer nothing to be called silent: an answer that is lost now and then is no news."""

REMIND_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class ProviderHealth:
    """What calls have shown of one provider; its methods are called from several threads at once."""

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
        """When the provider answered again after a silence; None once what was in doubt before has been asked for."""
        with self._lock:
            return self._well_since

    def caught_up(self, well_since: Instant) -> None:
        """Note that nothing is left in doubt from before an instant at which it answered again."""
        with self._lock:
            if self._well_since == well_since:
                self._well_since = None

    def answered(self) -> None:
        """Note that a call got an answer."""
        with self._lock:
            since, said_at = self._unanswered_since, self._said_at
            self._unanswered_since = self._said_at = None
            if said_at is None or since is None:
                return
            self._well_since = self._clock()
        silent_seconds = round(monotonic() - since, 1)
        _log.info("provider answers again", provider=self._provider, silent_seconds=silent_seconds)

    def did_not_answer(self, reason: str) -> None:
        """Note that a call got no answer, and why."""
        with self._lock:
            self._reason = reason
            if self._unanswered_since is None:
                self._unanswered_since = monotonic()
        self.remind()

    def remind(self) -> None:
        """Say that the provider is silent, if it is and if that was not said within the last minute."""
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
