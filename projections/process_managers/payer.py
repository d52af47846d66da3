"""The payer: calls providers for due payouts, and records their answers.

It finds due payouts in a read model, and looks each one up in the journal before it acts. Before a call, it records
that it is about to call, with a command that only one payer can win. So if a payer dies in between, the journal shows
that the payout may have been sent. The provider is then asked about it. It is never sent again under another key.

One payer holds the place, so that they do not all ask; the others stand by. Two that work at once do no harm. Releases
that can read different events have separate places, since one may not be able to pursue what the other has accepted.

Each provider, and each installation that receives bridges, has as many threads of its own as it takes calls at once
(`lanes.py`). What is known of whether it answers is in `provider_health.py`.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import uuid4

import structlog
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.application import LedgerApplication, system_clock
from domain.journal.database import Database
from domain.journal.outage import is_lost, outage_of
from domain.journal.queries import load
from domain.model.commands import Command
from domain.model.errors import LedgerError
from domain.model.events import Context
from domain.model.payouts.attempts import RecordSilence, SubmitPayout
from domain.model.payouts.payout import LONGEST_INQUIRY_SECONDS, Payout, Source
from domain.model.payouts.reports import RecordReport
from domain.model.registry import EVENT_SCHEMA_FINGERPRINT
from domain.model.times import Instant, later
from projections.engine.leadership import Loop, Timekeeper
from projections.process_managers.announcements import wait_until_told
from projections.process_managers.lanes import InHand, InstallationOf, Lane, Lanes
from projections.process_managers.provider_health import Callee, Early
from projections.process_managers.providers.interface import NoAnswer, Order, Provider, order_of
from projections.read_models.payouts import (
    ASKED_EARLY,
    PROJECTION,
    DuePayout,
    Share,
    awaited,
    count_forgotten,
    list_due_payouts,
    list_early_payouts,
    payouts_channel,
)

ACTOR = "tallystick"
"""The actor that calls providers."""

ObserveCall = Callable[[Callee, Source, str, float], None]
"""Called after each call with who was called, what the call was for, its outcome (`answered`, `unanswered`, or `failed`
if the adapter did), and its seconds."""

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

_SQL = load(__name__)

_log = structlog.get_logger(__name__)


def provider_actor(name: str) -> str:
    """Return the actor of events that record what a provider said."""
    return f"provider:{name}"


def new_nonce() -> str:
    """Return a random string that tells one request about a payout from all others."""
    return uuid4().hex[:12]


class Payer:
    """Pursues due payouts, in threads of its own."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerApplication,
        providers: Mapping[str, Provider],
        clock: Callable[[], Instant] = system_clock,
        max_clock_difference_seconds: float | None = None,
        observe: ObserveCall = lambda callee, source, outcome, seconds: None,
        installation_of: InstallationOf = lambda ledger: None,
    ) -> None:
        """`observe` is called after each call of a provider. `installation_of` says where bridges lead.

        A payer whose clock differs from the database's by more than the maximum leaves the place to others.
        """
        self._database = database
        self._observe = observe
        self._ledger = ledger
        self._providers = providers
        self._clock = clock
        self._timekeeper = Timekeeper(clock, max_clock_difference_seconds)
        self._stopping = threading.Event()
        self._lanes = Lanes(providers, clock, installation_of, self._pursue_all)
        self._lock = threading.Lock()
        # Each by payout id: its lane, the position it had when it was let go, and until when it is left alone.
        self._in_hand: dict[str, Lane] = {}
        self._reached: dict[str, int] = {}
        self._set_aside: dict[str, float] = {}
        self._remind_at = 0.0
        self._last_arrival: datetime | None = None
        self._has_place = False
        place = ("pay", f"{PROJECTION.name}/{EVENT_SCHEMA_FINGERPRINT}")
        loop = Loop(database, "payer", place, self._timekeeper.require_right, usual=(LedgerError,))
        work = (self._stopping, self._serve)
        self._looking = threading.Thread(target=loop.run, args=work, name="payer", daemon=True)

    def start(self) -> None:
        """Start paying."""
        self._looking.start()

    def stop(self) -> None:
        """Begin nothing more, and wait a little for running calls. A call that takes longer is asked about later."""
        self._stopping.set()
        give_up_at = monotonic() + STOP_SECONDS
        self._looking.join(STOP_SECONDS)
        for thread in [thread for lane in self._lanes.all() for thread in lane.stop()]:
            thread.join(max(0.0, give_up_at - monotonic()))

    def hand_over(self, payout: Payout) -> None:
        """Pursue a payout that this process has just accepted, without waiting for the read model. Never blocks.

        A payer that stands by does so too: two that work at once do no harm. If as many payouts are in hand as there
        is room for, it is left to be found in the read model.
        """
        receiver = payout.destination["ledger"] if payout.is_bridge else None
        lane = self._lanes.of(payout.provider, receiver)
        if lane is None or payout.state != "accepted":
            return
        with self._lock:
            if payout.id in self._in_hand or self._free(lane) == 0:
                return
            self._in_hand[payout.id] = lane
        due = DuePayout(payout.ledger, payout.id, payout.provider, payout.position, receiver)
        lane.put(InHand(due, seen=payout))

    # In the thread that looks for due payouts.

    def _serve(self, connection: Connection[Any]) -> None:
        connection.execute(SQL("LISTEN {}").format(Identifier(payouts_channel(self._database))))
        self._has_place = True
        self._lanes.begin()
        try:
            while not self._stopping.is_set():
                self._timekeeper.require_right(connection)
                self._note_arrivals(connection)
                is_quiet = self._is_quiet(connection)
                if not is_quiet:
                    self._take(connection)
                self._take_early(connection)
                self._remind(connection)
                wait_until_told(connection, self._stopping, LOOK_SECONDS if is_quiet else POLL_SECONDS)
        finally:
            self._has_place = False

    def _note_arrivals(self, connection: Connection[Any]) -> None:
        """Have payouts in doubt asked about early if a ledger has arrived.

        Its payouts may wait for long because a provider was silent, and who found that out is not here.
        """
        before, self._last_arrival = self._last_arrival, _SQL["last_arrival"].only(connection)[0]
        if self._last_arrival != before:
            self._lanes.begin()

    def _is_quiet(self, connection: Connection[Any]) -> bool:
        """Tell whether there is nothing to take for `LOOK_SECONDS`, unless it is announced."""
        with self._lock:
            if self._in_hand or self._reached or self._set_aside:
                return False
        if any(lane.health.early for lane in self._lanes.all()):
            return False
        known = self._lanes.known_receivers()
        shares = [Share(*lane.callee, 1) for lane in self._lanes.all()]
        soon = later(self._clock(), LOOK_SECONDS)
        return not list_due_payouts(connection, soon, shares, known).found

    def _take(self, connection: Connection[Any]) -> None:
        """Take due payouts in hand, as many as there is room for."""
        known = self._lanes.known_receivers()
        with self._lock:
            # What is handed over during the last look comes on top, so more may be in hand than there is room for.
            shares = [Share(*lane.callee, self._free(lane)) for lane in self._lanes.all()]
            excluding = self._known()
        due = list_due_payouts(connection, self._clock(), shares, known, excluding)
        with self._lock:
            # If the projection has not reached a payout's last position, the list still shows its former state.
            self._reached = {id: at for id, at in self._reached.items() if at > due.position}
            self._set_aside = {id: until for id, until in self._set_aside.items() if until > monotonic()}
        self._take_in_hand(due.found, None)

    def _take_early(self, connection: Connection[Any]) -> None:
        """Take payouts in hand that are to be asked about before they are due."""
        for lane in self._lanes.all():
            early = lane.health.early
            with self._lock:
                free, excluding = self._free(lane), self._known()
            if early is not None and free:
                self._take_early_of(connection, lane, early, free, excluding)

    def _take_early_of(
        self, connection: Connection[Any], lane: Lane, early: Early, free: int, excluding: set[str]
    ) -> None:
        most = free if early.most is None else min(early.most, free)
        # Those that must not be taken are looked for as well: they are still to be asked about, so that not all were.
        share = Share(*lane.callee, most + len(excluding))
        known = self._lanes.known_receivers()
        look = list_early_payouts(connection, early.since, share, known, early.excluding)
        may_be_taken = [due for due in look.found if due.id not in excluding]
        taken = self._take_in_hand(may_be_taken[:most], early.since)
        for each in (lane, *{other.callee: other for other in taken if other is not lane}.values()):
            each.health.looked(
                sum(other is each for other in taken),
                is_all=each is lane and len(taken) == len(look.found),
                position=look.position,
                head=look.head,
            )

    def _take_in_hand(self, found: Sequence[DuePayout], early_since: Instant | None) -> Sequence[Lane]:
        """Have payouts pursued that nobody has in hand. Return the lane of each."""
        taken: list[tuple[Lane, DuePayout]] = []
        with self._lock:
            # Some may have been handed over meanwhile.
            known = self._known()
            for due in found:
                lane = self._lanes.of(due.provider, due.receiver)
                if lane is not None and due.id not in known:
                    self._in_hand[due.id] = lane
                    taken.append((lane, due))
        for lane, due in taken:
            lane.put(InHand(due, early_since))
        return [lane for lane, _ in taken]

    def _known(self) -> set[str]:
        """Return the ids of payouts that must not be taken in hand. The caller holds the lock."""
        return {*self._in_hand, *self._reached, *self._set_aside}

    def _free(self, lane: Lane) -> int:
        """Return how many more payouts a lane has room for. The caller holds the lock."""
        return max(0, lane.room - sum(each is lane for each in self._in_hand.values()))

    def _remind(self, connection: Connection[Any]) -> None:
        """Log from time to time that a provider is silent, or that payouts wait for one that is not configured."""
        if monotonic() < self._remind_at:
            return
        self._remind_at = monotonic() + REMIND_SECONDS
        known = self._lanes.known_receivers()
        lanes = self._lanes.all()
        shares = [Share(*lane.callee, 0) for lane in lanes]
        waited_for = awaited(connection, shares, known)
        with self._lock:
            busy = list(self._in_hand.values())
            is_behind = any(at > waited_for.position for at in self._reached.values())
        for lane in lanes:
            if lane.callee in waited_for.found or lane in busy:
                lane.health.remind()
            elif not is_behind:
                lane.health.not_awaited()
        for provider, count in count_forgotten(connection, self._clock(), tuple(self._providers)).items():
            _log.error("payouts wait for a provider that is not configured", provider=provider, count=count)

    # In the threads of a lane.

    def _pursue_all(self, lane: Lane) -> None:
        while (in_hand := lane.next()) is not None and not self._stopping.is_set():
            due, position = in_hand.due, None
            try:
                seen = in_hand.seen or self._ledger.payout(due.ledger, due.id)[0]
                position = self._pursue(lane, seen, in_hand.early_since)
            except Exception as error:  # noqa: BLE001  an error in one payout must not hold up others
                if is_lost(error):
                    outage_of(self._database).lost("payouts", error, when_asked=True)
                else:
                    is_usual = isinstance(error, LedgerError)
                    _log.error(
                        "payout was not pursued",
                        payout_id=due.id,
                        error=repr(error),
                        exc_info=None if is_usual else error,
                    )
            if in_hand.early_since is not None:
                # It was answered if something was recorded.
                lane.health.let_go(due.id, is_answered=position is not None and position > due.position)
            self._let_go(due.id, position)

    def _let_go(self, id: str, position: int | None) -> None:
        """Leave a payout to the next look. `position` is that of its last event, None if it was not pursued."""
        with self._lock:
            del self._in_hand[id]
            if not self._has_place:
                return  # only who looks for due payouts must know which to leave alone, and forgets them in time
            if position is None:
                self._set_aside[id] = monotonic() + SET_ASIDE_SECONDS
            else:
                self._reached[id] = position

    def _pursue(self, lane: Lane, seen: Payout, early_since: Instant | None) -> int:
        """Do what is due for a payout; return the position of its last event."""
        if seen.due_at is None or (seen.due_at > self._clock() and not _is_early(seen, early_since)):
            return seen.position
        if not seen.is_to_be_submitted:
            return self._call(lane, lane.provider.ask, "inquiry", seen)
        submission = self._ledger.perform(
            SubmitPayout(_context(seen), seen, new_nonce(), lane.provider.patience_seconds)
        )
        submitted: Payout = submission.state
        if not submission.recorded or submitted.state != "submitted":
            return submitted.position
        return self._call(lane, lane.provider.submit, "submission", submitted)

    def _call(self, lane: Lane, call: Callable[[Order], Any], source: Source, seen: Payout) -> int:
        command: Command
        began, is_silent = monotonic(), False
        try:
            report = call(order_of(seen))
        except Exception as error:  # noqa: BLE001  no error says anything about what the provider did
            outcome = "unanswered" if isinstance(error, NoAnswer) else "failed"
            self._observe(lane.callee, source, outcome, monotonic() - began)
            if not isinstance(error, NoAnswer):
                _log.error("provider's adapter failed", provider=seen.provider, exc_info=error)
            words = str(error) if isinstance(error, NoAnswer) else f"{type(error).__name__} in the adapter"
            if isinstance(error, NoAnswer) and error.is_heard:
                lane.health.answered()
            else:
                lane.health.did_not_answer(words)
            # Only who finds out when the provider answers again may let a payout wait for long.
            is_silent = self._has_place and lane.health.is_silent
            if source == "inquiry" and self._may_wait(seen, is_silent=is_silent):
                return seen.position  # it was asked early, and the inquiry that is recorded is still to come
            command = RecordSilence(_context(seen), seen, new_nonce(), source, words, is_silent=is_silent)
        else:
            self._observe(lane.callee, source, "answered", monotonic() - began)
            lane.health.answered()
            context = _context(seen)._replace(actor=provider_actor(seen.provider))
            command = RecordReport(context, seen, new_nonce(), source, report)
        payout: Payout = self._ledger.perform(command).state
        if is_silent and not lane.health.is_silent:
            lane.health.begin()  # it answered another call meanwhile, and this payout has just begun to wait for long
        return payout.position

    def _may_wait(self, payout: Payout, *, is_silent: bool) -> bool:
        """Tell whether a payout that was asked about in vain may wait until its inquiry is due.

        It may not if the provider answers others, and the pause is one of those that are for a silent one alone.
        """
        now = self._clock()
        until = None if is_silent else later(now, LONGEST_INQUIRY_SECONDS)
        return payout.due_at is not None and now < payout.due_at and (until is None or payout.due_at <= until)


def _is_early(payout: Payout, since: Instant | None) -> bool:
    """Tell whether a payout is to be asked about early, by the same rule as the query `list_early`."""
    return since is not None and payout.state in ASKED_EARLY and payout.changed_at < since


def _context(payout: Payout) -> Context:
    return Context(ACTOR, payout.correlation_id, payout.traceparent)
