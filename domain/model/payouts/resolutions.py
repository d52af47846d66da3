"""What operators do about a payout: have the provider asked now, or state themselves how the payout ended."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from domain.model.commands import Decision, Read
from domain.model.errors import InvalidRequest
from domain.model.payouts.bookings import OnPayout
from domain.model.payouts.payout import (
    Payout,
    PayoutCompleted,
    PayoutFailed,
    PayoutReconciliationRequested,
    PayoutState,
    existing_payout,
)
from domain.model.refusals import payout_ended
from domain.model.times import Instant

MAY_HAVE_LEFT: tuple[PayoutState, ...] = ("submitted", "in_doubt")
"""The states in which a provider may have paid without having said so."""

NOT_PAID = "not_paid"
"""The value by which an operator confirms that the money has not left."""

MUST_BE_CONFIRMED = (
    "must be not_paid: the payout is {state}, so that its money may have left. Failing it returns the amount to the"
    " account. If the provider has paid, the amount is then paid twice. Check the provider's own books first."
)


@dataclass(frozen=True, slots=True)
class Resolution(OnPayout, ABC):
    """An operator's request. It gives a reason."""

    reason: str

    @abstractmethod
    def decide(self, read: Read, now: Instant) -> Decision:
        """Return the events to record."""

    def told(self) -> dict[str, Any]:
        """Return the members that the event of an end copies from the request."""
        return {
            "source": "operator",
            "detail": self.reason,
            "provider_reference": "",
            "message_id": None,
        }


class ReconcilePayout(Resolution):
    """Have the provider asked now, whatever is known. An answer that contradicts the books is recorded as that."""

    __slots__ = ()

    def decide(self, read: Read, now: Instant) -> Decision:
        """Make the payout due; raise, in this order, `PayoutNotFound`, and `PayoutEnded` for a rejected payout."""
        payout = existing_payout(read(self.stream), self.seen.id)
        if payout.state == "rejected":
            raise payout_ended(payout.id, payout.state)
        if payout.state == "accepted":
            return Decision((), self.stream)  # it is due already
        requested = PayoutReconciliationRequested(reason=self.reason)
        return Decision([(self.stream, requested)], self.stream)


class CompletePayout(Resolution):
    """State that the money has left."""

    __slots__ = ()

    def decide(self, read: Read, now: Instant) -> Decision:
        """Complete the payout. Idempotent.

        Raises, in this order, `PayoutNotFound`, `PayoutEnded` if it failed or was rejected, and what `OnPayout.paid`
        raises.
        """
        payout = existing_payout(read(self.stream), self.seen.id)
        if _has_ended(payout, "completed"):
            return Decision((), self.stream)
        booking = self.paid(payout, read, now)
        completed = PayoutCompleted(booked_by=booking.transaction_id, **self.told())
        return Decision([*booking.events, (self.stream, completed)], self.stream)


@dataclass(frozen=True, slots=True)
class FailPayout(Resolution):
    """State that the money has not left and will not. `confirmed`: the operator knows this from the provider."""

    confirmed: bool = False

    def decide(self, read: Read, now: Instant) -> Decision:
        """Fail the payout. Idempotent.

        Raises, in this order, `PayoutNotFound`, `PayoutEnded` if it was completed or rejected, `InvalidRequest` if the
        money may have left and the operator did not confirm that it has not, and what `OnPayout.released` raises.
        """
        payout = existing_payout(read(self.stream), self.seen.id)
        if _has_ended(payout, "failed"):
            return Decision((), self.stream)
        if payout.state in MAY_HAVE_LEFT and not self.confirmed:
            raise InvalidRequest("/confirm", MUST_BE_CONFIRMED.format(state=payout.state))
        booking = self.released(payout, read, now)
        failed = PayoutFailed(booked_by=booking.transaction_id, **self.told())
        return Decision([*booking.events, (self.stream, failed)], self.stream)


def _has_ended(payout: Payout, wanted: PayoutState) -> bool:
    """Tell whether the payout ended in the wanted state; raise `PayoutEnded` if it ended in another."""
    if payout.ended_at is None:
        return False
    if payout.state != wanted:
        raise payout_ended(payout.id, payout.state)
    return True
