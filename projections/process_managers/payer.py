"""The payer: calls providers for due payouts, and records their answers.

It finds due payouts in a read model, and looks each one up in the journal before it acts. Before a call, it records
that it is about to call, with a command that only one payer can win. So if a payer dies in between, the journal shows
that the payout may have been sent. The provider is then asked about it. It is never sent again under another key.

One payer holds the place, so that they do not all ask; the others stand by. Two that work at once do no harm. Releases
that can read different events have separate places, since one may not be able to pursue what the other has accepted.

Each provider has as many threads of its own as it has connections, so a slow provider holds up no other.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

import structlog
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.application import LedgerApplication, system_clock
from domain.journal.database import Database
from domain.journal.outage import DATABASE, is_lost
from domain.model.commands import Command
from domain.model.errors import LedgerError
from domain.model.events import Context
from domain.model.payouts.attempts import RecordSilence, SubmitPayout
from domain.model.payouts.payout import Payout, Source
from domain.model.payouts.reports import RecordReport
from domain.model.registry import EVENT_SCHEMA_FINGERPRINT
from domain.model.times import Instant, later
from projections.engine.leadership import Loop, Timekeeper
from projections.process_managers.announcements import wait_until_told
from projections.process_managers.provider_health import ProviderHealth
from projections.process_managers.providers.interface import NoAnswer, Order, Provider, order_of
from projections.read_models.payouts import (
    PROJECTION,
    DuePayout,
    awaited,
    count_forgotten,
    list_due_payouts,
    payouts_channel,
)

ACTOR = "tallystick"
"""The actor that calls providers."""

ObserveCall = Callable[[str, Source, str, float], None]
"""Called after each call with the provider, what the call was for, its outcome (`answered`, `unanswered`, or `failed`
if the adapter did), and its seconds."""

IN_HAND_FOR_EACH_CALL = 4
"""How many payouts are taken in hand per possible concurrent call, so that no thread waits for the next query."""

LOOK_SECONDS = 1.0
"""How far ahead it looks for due payouts while it has none in hand. It looks again after this time, though nothing was
announced.
"""

POLL_SECONDS = 0.2
"""How soon it looks again for due payouts while it has some in hand, or some will soon be due."""

STOP_SECONDS = 2.0
# Work that cannot be done, for example for an event of a newer release, must not hold up the rest.
SET_ASIDE_SECONDS = 10.0
REMIND_SECONDS = 60.0

_log = structlog.get_logger(__name__)


def provider_actor(name: str) -> str:
    """Return the actor of events that record what a provider said."""
    return f"provider:{name}"


def new_nonce() -> str:
    """Return a random string that tells one request about a payout from all others."""
    return uuid4().hex[:12]


class InHand(NamedTuple):
    """A payout taken in hand. `well_since` is when its provider answered again, if that is why the payout is due.

    `seen` is the payout if it was handed over, None if it was found in the read model, which may lag.
    """

    due: DuePayout
    well_since: Instant | None
    seen: Payout | None = None


class Payer:
    """Pursues due payouts, in threads of its own."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerApplication,
        providers: Mapping[str, Provider],
        clock: Callable[[], Instant] = system_clock,
        max_clock_difference_seconds: float | None = None,
        observe: ObserveCall = lambda provider, source, outcome, seconds: None,
    ) -> None:
        """`observe` is called after each call of a provider.

        A payer whose clock differs from the database's by more than the maximum leaves the place to others.
        """
        self._database = database
        self._observe = observe
        self._ledger = ledger
        self._providers = providers
        self._clock = clock
        self._timekeeper = Timekeeper(clock, max_clock_difference_seconds)
        self._stopping = threading.Event()
        self._queues: dict[str, queue.SimpleQueue[InHand | None]] = {
            name: queue.SimpleQueue() for name in providers
        }
        self._lock = threading.Lock()
        # Each by payout id: its provider, the position it had when it was let go, and until when it is left alone.
        self._in_hand: dict[str, str] = {}
        self._reached: dict[str, int] = {}
        self._set_aside: dict[str, float] = {}
        self._remind_at = 0.0
        self._has_place = False
        self._health = {name: ProviderHealth(name, clock) for name in providers}
        place = ("pay", f"{PROJECTION.name}/{EVENT_SCHEMA_FINGERPRINT}")
        loop = Loop(database, "payer", place, self._timekeeper.require_right, usual=(LedgerError,))
        work = (self._stopping, self._serve)
        self._threads = [threading.Thread(target=loop.run, args=work, name="payer", daemon=True)]
        for name, provider in providers.items():
            self._threads += [
                threading.Thread(target=self._pursue_all, args=(name,), name=f"payer {name}", daemon=True)
                for _ in range(provider.max_calls)
            ]

    def start(self) -> None:
        """Start paying."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing more, and wait a little for running calls. A call that takes longer is asked about later."""
        self._stopping.set()
        for name, provider in self._providers.items():
            for _ in range(provider.max_calls):
                self._queues[name].put(None)
        give_up_at = monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - monotonic()))

    def hand_over(self, payout: Payout) -> None:
        """Pursue a payout that this process has just accepted, without waiting for the read model. Never blocks.

        A payer that stands by does so too: two that work at once do no harm. If as many payouts are in hand as there
        is room for, it is left to be found in the read model.
        """
        provider = self._providers.get(payout.provider)
        if provider is None or payout.state != "accepted":
            return
        with self._lock:
            busy = sum(name == payout.provider for name in self._in_hand.values())
            if payout.id in self._in_hand or busy >= provider.max_calls * IN_HAND_FOR_EACH_CALL:
                return
            self._in_hand[payout.id] = payout.provider
        due = DuePayout(payout.ledger, payout.id, payout.provider, payout.position)
        self._queues[payout.provider].put(InHand(due, None, payout))

    # In the thread that looks for due payouts.

    def _serve(self, connection: Connection[Any]) -> None:
        connection.execute(SQL("LISTEN {}").format(Identifier(payouts_channel(self._database))))
        self._has_place = True
        try:
            while not self._stopping.is_set():
                self._timekeeper.require_right(connection)
                is_quiet = self._is_quiet(connection)
                if not is_quiet:
                    self._take(connection)
                self._remind(connection)
                wait_until_told(connection, self._stopping, LOOK_SECONDS if is_quiet else POLL_SECONDS)
        finally:
            self._has_place = False

    def _is_quiet(self, connection: Connection[Any]) -> bool:
        """Tell whether there is nothing to take for `LOOK_SECONDS`, unless it is announced."""
        with self._lock:
            if self._in_hand or self._reached or self._set_aside:
                return False
        if any(health.well_since for health in self._health.values()):
            return False
        soon = list_due_payouts(
            connection, later(self._clock(), LOOK_SECONDS), dict.fromkeys(self._providers, 1)
        )
        return not soon.found

    def _take(self, connection: Connection[Any]) -> None:
        """Take due payouts in hand, as many as there is room for."""
        with self._lock:
            busy = list(self._in_hand.values())
            excluding = {*self._in_hand, *self._reached, *self._set_aside}
        # What is handed over during the last look comes on top, so more may be in hand than there is room for.
        free = {
            name: max(0, provider.max_calls * IN_HAND_FOR_EACH_CALL - busy.count(name))
            for name, provider in self._providers.items()
        }
        well_since = {name: since for name, health in self._health.items() if (since := health.well_since)}
        due = list_due_payouts(connection, self._clock(), free, excluding, well_since)
        for name, since in well_since.items():
            if sum(payout.provider == name for payout in due.found) < free[name]:
                self._health[name].caught_up(since)
        with self._lock:
            # If the projection has not reached a payout's last position, the list still shows its former state.
            self._reached = {id: at for id, at in self._reached.items() if at > due.position}
            self._set_aside = {id: until for id, until in self._set_aside.items() if until > monotonic()}
            # Some may have been handed over meanwhile.
            known = self._in_hand.keys() | self._reached.keys() | self._set_aside.keys()
            found = [payout for payout in due.found if payout.id not in known]
            self._in_hand |= {payout.id: payout.provider for payout in found}
        for payout in found:
            self._queues[payout.provider].put(InHand(payout, well_since.get(payout.provider)))

    def _remind(self, connection: Connection[Any]) -> None:
        """Log from time to time that a provider is silent, or that payouts wait for one that is not configured."""
        if monotonic() < self._remind_at:
            return
        self._remind_at = monotonic() + REMIND_SECONDS
        waited_for = awaited(connection, self._health)
        with self._lock:
            in_hand = set(self._in_hand.values())
            is_behind = any(at > waited_for.position for at in self._reached.values())
        for name, health in self._health.items():
            if name in waited_for.found | in_hand:
                health.remind()
            elif not is_behind:
                health.not_awaited()
        for provider, count in count_forgotten(connection, self._clock(), tuple(self._providers)).items():
            _log.error("payouts wait for a provider that is not configured", provider=provider, count=count)

    # In the threads of a provider.

    def _pursue_all(self, name: str) -> None:
        while (in_hand := self._queues[name].get()) is not None and not self._stopping.is_set():
            due = in_hand.due
            try:
                seen = in_hand.seen or self._ledger.payout(due.ledger, due.id)[0]
                position = self._pursue(self._providers[name], seen, in_hand.well_since)
            except Exception as error:  # noqa: BLE001  an error in one payout must not hold up others
                if is_lost(error):
                    DATABASE.lost("payouts", error, when_asked=True)
                else:
                    is_usual = isinstance(error, LedgerError)
                    _log.error(
                        "payout was not pursued",
                        payout_id=due.id,
                        error=repr(error),
                        exc_info=None if is_usual else error,
                    )
                self._let_go(due.id, set_aside=True)
            else:
                self._let_go(due.id, position)

    def _let_go(self, id: str, position: int = 0, *, set_aside: bool = False) -> None:
        with self._lock:
            del self._in_hand[id]
            if not self._has_place:
                return  # only who looks for due payouts must know which to leave alone, and forgets them in time
            if set_aside:
                self._set_aside[id] = monotonic() + SET_ASIDE_SECONDS
            else:
                self._reached[id] = position

    def _pursue(self, provider: Provider, seen: Payout, well_since: Instant | None) -> int:
        """Do what is due for a payout; return the position of its last event."""
        if not _is_due(seen, self._clock(), well_since):
            return seen.position
        if not seen.is_to_be_submitted:
            return self._call(provider.ask, "inquiry", seen)
        submission = self._ledger.perform(
            SubmitPayout(_context(seen), seen, new_nonce(), provider.patience_seconds)
        )
        submitted: Payout = submission.state
        if not submission.recorded or submitted.state != "submitted":
            return submitted.position
        return self._call(provider.submit, "submission", submitted)

    def _call(self, call: Callable[[Order], Any], source: Source, seen: Payout) -> int:
        command: Command
        health = self._health[seen.provider]
        began = monotonic()
        try:
            report = call(order_of(seen))
        except Exception as error:  # noqa: BLE001  no error says anything about what the provider did
            outcome = "unanswered" if isinstance(error, NoAnswer) else "failed"
            self._observe(seen.provider, source, outcome, monotonic() - began)
            if not isinstance(error, NoAnswer):
                _log.error("provider's adapter failed", provider=seen.provider, exc_info=error)
            words = str(error) if isinstance(error, NoAnswer) else f"{type(error).__name__} in the adapter"
            health.did_not_answer(words)
            command = RecordSilence(_context(seen), seen, new_nonce(), source, words)
        else:
            self._observe(seen.provider, source, "answered", monotonic() - began)
            health.answered()
            context = _context(seen)._replace(actor=provider_actor(seen.provider))
            command = RecordReport(context, seen, new_nonce(), source, report)
        payout: Payout = self._ledger.perform(command).state
        return payout.position


def _is_due(payout: Payout, now: Instant, well_since: Instant | None) -> bool:
    """Tell whether something is due for a payout, by the same rule as the query `list_due`."""
    is_asked_early = payout.state == "in_doubt" and well_since is not None and payout.changed_at < well_since
    return payout.due_at is not None and (payout.due_at <= now or is_asked_early)


def _context(payout: Payout) -> Context:
    return Context(ACTOR, payout.correlation_id, payout.traceparent)
