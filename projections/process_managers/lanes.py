"""Lanes: the calls of each callee, with threads of their own, so that one that is slow or silent holds up no other.

A bridge is called at the installation that receives it, so each receiving installation has a lane, and the health of
one says nothing of another.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from domain.model.payouts.bridges import BRIDGE
from domain.model.payouts.payout import Payout
from domain.model.times import Instant
from projections.process_managers.provider_health import Callee, ProviderHealth
from projections.process_managers.providers.interface import Provider
from projections.read_models.payouts import DuePayout

IN_HAND_FOR_EACH_CALL = 4
"""How many payouts are taken in hand per possible concurrent call, so that no thread waits for the next query."""

MAX_RECEIVERS = 10_000
"""How many receiving ledgers are told apart by their installations in the query for due payouts."""

InstallationOf = Callable[[str], str | None]
"""Returns the installation of a ledger that a bridge leads to, None if this process does not know it. Never blocks."""


class InHand(NamedTuple):
    """A payout taken in hand. `early_since` is set if it is asked about early: it was in doubt since before that.

    `seen` is the payout if it was handed over, None if it was found in the read model, which may lag.
    """

    due: DuePayout
    early_since: Instant | None = None
    seen: Payout | None = None


class Lane:
    """The queue, the threads and the health of one callee. Its threads start with the first payout."""

    def __init__(
        self,
        callee: Callee,
        provider: Provider,
        clock: Callable[[], Instant],
        pursue_all: Callable[["Lane"], None],
    ) -> None:
        """`pursue_all` takes payouts from the lane until `next` returns None. It runs in each of the threads."""
        self.callee = callee
        self.provider = provider
        self.health = ProviderHealth(callee, clock)
        self._queue: queue.SimpleQueue[InHand | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._is_stopped = False
        self._pursue_all = pursue_all

    @property
    def room(self) -> int:
        """How many payouts may be in hand at once."""
        return self.provider.max_calls * IN_HAND_FOR_EACH_CALL

    def put(self, in_hand: InHand) -> None:
        """Have a payout pursued."""
        self._queue.put(in_hand)
        with self._lock:
            if self._threads or self._is_stopped:
                return
            name = " ".join(("payer", *filter(None, self.callee)))
            self._threads = [
                threading.Thread(target=self._pursue_all, args=(self,), name=name, daemon=True)
                for _ in range(self.provider.max_calls)
            ]
            for thread in self._threads:
                thread.start()

    def next(self) -> InHand | None:
        """Wait for the next payout and return it, None once the lane is stopped."""
        return self._queue.get()

    def stop(self) -> Iterable[threading.Thread]:
        """Begin nothing more; return the threads, which may still be in a call."""
        with self._lock:
            self._is_stopped = True
        for _ in self._threads:
            self._queue.put(None)
        return self._threads


class Lanes:
    """The lanes of a payer. Those of receiving installations are made when a bridge first leads there."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        clock: Callable[[], Instant],
        installation_of: InstallationOf,
        pursue_all: Callable[[Lane], None],
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._installation_of = installation_of
        self._pursue_all = pursue_all
        self._lock = threading.Lock()
        self._has_begun = False
        # The ledgers that bridges were seen to lead to, each with its installation, empty if that is not known.
        self._receivers: dict[str, str] = {}
        self._lanes = {Callee(name): self._made(Callee(name)) for name in providers}

    def all(self) -> list[Lane]:
        """Return every lane that there is."""
        with self._lock:
            return list(self._lanes.values())

    def known_receivers(self) -> dict[str, str]:
        """Return the installations of the ledgers that bridges were seen to lead to, as far as they are known.

        Each has a lane from then on. So `all` must be asked after this, or it may lack one that has just become known.
        """
        with self._lock:
            receivers = list(self._receivers)
        found = {ledger: self._installation_of(ledger) for ledger in receivers}
        with self._lock:
            for ledger, installation in found.items():
                self._place(ledger, installation)
            return {ledger: installation for ledger, installation in self._receivers.items() if installation}

    def of(self, provider: str, receiver: str | None) -> Lane | None:
        """Return the lane of a provider; for a bridge, that of the installation of the ledger `receiver`.

        None if there is no such provider.
        """
        if provider not in self._providers:
            return None
        found = self._installation_of(receiver) if receiver else None
        with self._lock:
            if not receiver:
                return self._lanes[Callee(provider)]
            if receiver not in self._receivers and len(self._receivers) >= MAX_RECEIVERS:
                self._receivers.clear()  # those that are still due are seen again
            return self._place(receiver, found)

    def begin(self) -> None:
        """Have every payout in doubt asked about early: what was met before, or elsewhere, is not known here."""
        with self._lock:
            self._has_begun = True
            for lane in self._lanes.values():
                lane.health.begin()

    def _place(self, receiver: str, found: str | None) -> Lane:
        """Return the lane of a receiving ledger, whose installation was `found`. The caller holds the lock.

        If it is not known now, it is taken to be where it was. If it has changed, bridges to the ledger may wait for
        long because another installation was silent, so all in doubt are asked about early.
        """
        before = self._receivers.get(receiver)
        installation = self._receivers[receiver] = found or before or ""
        callee = Callee(BRIDGE, installation)
        is_new = callee not in self._lanes
        if is_new:
            self._lanes[callee] = self._made(callee)
        if self._has_begun and (is_new or before not in (None, installation)):
            self._lanes[callee].health.begin()
        return self._lanes[callee]

    def _made(self, callee: Callee) -> Lane:
        return Lane(callee, self._providers[callee.provider], self._clock, self._pursue_all)
