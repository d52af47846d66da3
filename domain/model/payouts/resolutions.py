"""What operators do about a payout: have the provider asked now, or say themselves how it ended."""

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
"""The states in which a provider may have paid, and has not said so."""

NOT_PAID = "not_paid"
"""What confirms that the money has not left."""

MUST_BE_CONFIRMED = (
    "must be not_paid: the payout is {state}, so that its money may have left. To fail it gives the amount back to the"
    " account, and if the provider has paid it is paid twice. See the provider's own books first."
)


@dataclass(frozen=True, slots=True)
class Resolution(OnPayout, ABC):
    """A request of an operator, who gives a reason."""

    reason: str

    @abstractmethod
    def decide(self, read: Read, now: Instant) -> Decision:
        """Decide what follows."""

    def told(self) -> dict[str, Any]:
        """Return the members that the event of an end takes over from the request."""
        return {
            "source": "operator",
            "detail": self.reason,
            "provider_reference": "",
            "message_id": None,
        }


class ReconcilePayout(Resolution):
    """Have the provider asked now, whatever is known: an answer that contradicts the books is recorded as such."""

    __slots__ = ()

    def decide(self, read: Read, now: Instant) -> Decision:
        """Make the payout due; raise `PayoutNotFound`, and `PayoutEnded` for one that no provider ever heard of."""
        payout = existing_payout(read(self.stream), self.seen.id)
        if payout.state == "rejected":
            raise payout_ended(payout)
        if payout.state == "accepted":
            return Decision((), self.stream)  # it is due already
        requested = PayoutReconciliationRequested(reason=self.reason)
        return Decision([(self.stream, requested)], self.stream)


class CompletePayout(Resolution):
    """Say that the money has left."""

    __slots__ = ()

    def decide(self, read: Read, now: Instant) -> Decision:
        """Complete the payout, once.

        Raises, in this order, `PayoutNotFound`, `PayoutEnded` if it failed or was rejected, and what refuses to post
        anew what was released before.
        """
        payout = existing_payout(read(self.stream), self.seen.id)
        if _has_ended(payout, "completed"):
            return Decision((), self.stream)
        booking = self.paid(payout, read, now)
        completed = PayoutCompleted(booked_by=booking.transaction_id, **self.told())
        return Decision([*booking.events, (self.stream, completed)], self.stream)


@dataclass(frozen=True, slots=True)
class FailPayout(Resolution):
    """Say that the money has not left, and will not; `confirmed` where whoever says so knows it from the provider."""

    confirmed: bool = False

    def decide(self, read: Read, now: Instant) -> Decision:
        """Fail the payout, once.

        Raises, in this order, `PayoutNotFound`, `PayoutEnded` if it was completed or rejected, `InvalidRequest` if the
        money may have left and it is not confirmed that it has not, and what refuses to reverse what was posted before.
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
    """Tell whether it ended as wanted; raise `PayoutEnded` if it ended otherwise."""
    if payout.ended_at is None:
        return False
    if payout.state != wanted:
        raise payout_ended(payout)
    return True
