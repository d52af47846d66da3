"""The simulator's own books: each payout it acted on, once, whatever it answered about it."""

import threading
from collections import Counter
from time import monotonic
from typing import Any, NamedTuple

from scripts.simulator.faults import Order, Plan

LIE_SECONDS = 1.0
"""How long the simulator tells a lie."""


class Paid(NamedTuple):
    """A payout that was acted on. Its outcome was fixed then, and is told after a delay."""

    order: Order
    plan: Plan
    reference: str
    correlation_id: str
    traceparent: str
    acted_at: float

    @property
    def outcome(self) -> str:
        """What became of the money in truth."""
        return "completed" if self.plan.lie else self.plan.outcome

    def said(self, now: float) -> str:
        """Return the state that the simulator tells at a time."""
        waited = now - self.acted_at - self.plan.delay_seconds
        if waited < 0:
            return "processing"
        return "failed" if self.plan.lie and waited < LIE_SECONDS else self.outcome

    def answer(self, state: str) -> dict[str, Any]:
        """Return the answer about the payout in a state."""
        return {
            "key": self.order.key,
            "state": state,
            "amount": self.order.amount + (1 if self.plan.wrong_amount else 0),
            "asset": self.order.asset,
            "reference": self.reference,
            "detail": "the destination refused it" if state == "failed" else "",
        }


class Books:
    """The payouts acted on, and how often each was submitted and asked about."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paid: dict[str, Paid] = {}
        self._submissions: Counter[str] = Counter()
        self._inquiries: Counter[str] = Counter()

    def submitted(self, key: str) -> int:
        """Count a submission that arrived; return how many have arrived."""
        with self._lock:
            self._submissions[key] += 1
            return self._submissions[key]

    def asked(self, key: str) -> int:
        """Count an inquiry that arrived; return how many have arrived."""
        with self._lock:
            self._inquiries[key] += 1
            return self._inquiries[key]

    def find(self, key: str) -> Paid | None:
        """Return the payout acted on under a key, None if there is none."""
        with self._lock:
            return self._paid.get(key)

    def act(self, order: Order, plan: Plan, correlation_id: str, traceparent: str) -> tuple[Paid, bool]:
        """Act on an order unless its key was acted on before; return the payout, and whether it is new."""
        with self._lock:
            known = self._paid.get(order.key)
            if known is not None:
                return known, False
            reference = f"sim-{len(self._paid) + 1}"
            paid = Paid(order, plan, reference, correlation_id, traceparent, monotonic())
            self._paid[order.key] = paid
            return paid, True

    def shown(self) -> list[dict[str, Any]]:
        """Return the books, in the order in which they were written."""
        with self._lock:
            return [
                {
                    **paid.order._asdict(),
                    "provider_reference": paid.reference,
                    "outcome": paid.outcome,
                    "lied": paid.plan.lie,
                    "submissions": self._submissions[key],
                    "inquiries": self._inquiries[key],
                    "correlation_id": paid.correlation_id,
                    "traceparent": paid.traceparent,
                }
                for key, paid in self._paid.items()
            ]
