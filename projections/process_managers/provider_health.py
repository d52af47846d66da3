"""Whether a provider answers, as far as the payer of one process finds by calling it.

A provider that has not answered for a while is silent. The log says so once, repeats it every minute while payouts
wait for it, and says once when the silence ends.

Payouts that are in doubt during a silence record long pauses, so that a long outage fills no journal. So that nobody
waits for such a pause in vain, a payout is asked about early, before its inquiry is due. While the provider is silent,
one is asked early at a time, in growing pauses that end at `LONGEST_PAUSE_SECONDS`. Once the provider answers again,
all are that were in doubt since before. The same is done when a payer takes its place, since it does not know what the
one before it has met.
"""

import threading
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

import structlog

from domain.model.times import Instant, later
from projections.engine.leadership import Pauses

SILENT_AFTER_SECONDS = 5.0
"""A provider is silent after this long without any answer. A single lost answer is not worth logging."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
"""The longest pause between two calls that find out whether a silent provider answers again."""

MARGIN_SECONDS = 5.0
"""For so long after an instant a payout may be dated that went in doubt before it: the clocks of processes differ."""

REMIND_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class Callee(NamedTuple):
    """Who is called: a provider. For a bridge also the installation that receives it, empty if that is not known."""

    provider: str
    receiver: str = ""


class Early(NamedTuple):
    """Which payouts to ask about early: those in doubt since before `since`, but for the ids in `excluding`.

    `most` is how many, None for as many as there is room for.
    """

    since: Instant
    most: int | None
    excluding: frozenset[str]


class ProviderHealth:
    """What calls have shown of one callee. Its methods are called from several threads at once."""

    def __init__(self, callee: Callee, clock: Callable[[], Instant]) -> None:
        self._callee = callee
        self._clock = clock
        self._lock = threading.Lock()
        self._unanswered_since: float | None = None
        self._said_at: float | None = None
        self._reason = ""
        # Payouts in doubt since before this may wait for longer than they need. They are asked early, in rounds.
        self._doubted_until: Instant | None = None
        # The head of the journal at the first look since these rounds began. None before it.
        self._head: int | None = None
        self._asked_in_vain: set[str] = set()
        self._has_gained = False
        self._in_hand = 0
        self._between_calls = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._between_rounds = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._call_at = self._round_at = 0.0

    @property
    def is_silent(self) -> bool:
        """Whether nothing was answered for `SILENT_AFTER_SECONDS`."""
        with self._lock:
            return self._is_silent()

    @property
    def early(self) -> Early | None:
        """Which payouts to ask about early now, None if none. `looked` says what was found."""
        with self._lock:
            excluding = frozenset(self._asked_in_vain)
            if self._unanswered_since is None:
                since, is_time = self._doubted_until, monotonic() >= self._round_at
                return Early(since, None, excluding) if since and is_time else None
            is_wanted = self._is_silent() or self._doubted_until is not None
            is_time = monotonic() >= self._call_at and not self._in_hand
            return Early(self._soon(), 1, excluding) if is_wanted and is_time else None

    def begin(self) -> None:
        """Have every payout in doubt asked about early."""
        with self._lock:
            self._begin_rounds()

    def looked(self, found: int, *, is_all: bool, position: int, head: int) -> None:
        """Note that so many payouts were taken in hand to be asked early, and whether these were all there are.

        `position` is that of the read model in which they were looked for, `head` that of the journal then.
        """
        with self._lock:
            self._in_hand += found
            if self._head is None:
                self._head = head
            if not is_all or self._in_hand or position < self._head:
                return
            is_of_some = bool(self._asked_in_vain)
            self._asked_in_vain.clear()
            if self._unanswered_since is not None:
                if not is_of_some:  # nobody waits; otherwise each had a turn, and the first has the next
                    self._call_at = monotonic() + self._between_calls.next_seconds()
                return
            # A round is over. Another one is worth it if this one gained something, and not all, and as long as a
            # payout in doubt may be recorded that is dated before the rounds began.
            is_past = self._doubted_until is None or self._clock() >= self._doubted_until
            if is_past and not (is_of_some and self._has_gained):
                self._doubted_until = None
            self._has_gained = False
            self._round_at = monotonic() + self._between_rounds.next_seconds()

    def let_go(self, id: str, *, is_answered: bool) -> None:
        """Note what became of a payout that was asked early."""
        with self._lock:
            self._in_hand -= 1
            if is_answered:
                self._has_gained = True
                return
            self._asked_in_vain.add(id)
            if self._unanswered_since is not None:
                self._call_at = monotonic() + self._between_calls.next_seconds()

    def answered(self) -> None:
        """Note that a call was answered."""
        with self._lock:
            since, said_at = self._unanswered_since, self._said_at
            was_silent = self._is_silent()
            self._unanswered_since = self._said_at = None
            self._between_calls.reset()
            self._call_at = 0.0
            if was_silent:
                self._begin_rounds()
        if since is not None and said_at is not None:
            silent_seconds = round(monotonic() - since, 1)
            _log.info("provider answers again", **self._named(), silent_seconds=silent_seconds)

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
            self._between_calls.reset()
            self._call_at = 0.0
        if said_at is not None:
            _log.info("nothing waits for the provider that was silent", **self._named())

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
        _log.error("provider is silent", **self._named(), silent_seconds=silent_seconds, reason=reason)

    def _is_silent(self) -> bool:
        since = self._unanswered_since
        return since is not None and monotonic() - since >= SILENT_AFTER_SECONDS

    def _begin_rounds(self) -> None:
        self._doubted_until = self._soon()
        self._head = None
        self._asked_in_vain.clear()
        self._has_gained = False
        self._between_rounds.reset()
        self._round_at = 0.0

    def _soon(self) -> Instant:
        return later(self._clock(), MARGIN_SECONDS)

    def _named(self) -> dict[str, str]:
        provider, receiver = self._callee
        return {"provider": provider, "receiver": receiver} if receiver else {"provider": provider}
