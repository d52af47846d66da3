"""Calling the provider: what is recorded before the provider is called, and when it does not answer."""

from dataclasses import dataclass

from domain.model.accounts import existing_account
from domain.model.commands import Decision, Read
from domain.model.payouts.bookings import OnPayout
from domain.model.payouts.payout import (
    PayoutFailed,
    PayoutSubmitted,
    PayoutUnanswered,
    Source,
    existing_payout,
)
from domain.model.streams import account_stream
from domain.model.times import Instant, later

FROZEN = "the account was frozen before the provider was called"


@dataclass(frozen=True, slots=True)
class SubmitPayout(OnPayout):
    """Record that the provider is about to be called. Only the caller who records this calls the provider.

    `patience_seconds` is the longest that the call can take. If the account was frozen before the first call, the
    provider is not called, and the payout fails.
    """

    patience_seconds: float

    def decide(self, read: Read, now: Instant) -> Decision:
        """Record the attempt, or nothing if the payout is not to be submitted now; raise `PayoutNotFound`."""
        payout = existing_payout(read(self.stream), self.seen.id)
        if not payout.is_to_be_submitted:
            return Decision((), self.stream)
        account = existing_account(
            read(account_stream(payout.ledger, payout.account)), payout.ledger, payout.account
        )
        if payout.attempts == 0 and account.status == "frozen":
            booking = self.released(payout, read, now)
            failed = PayoutFailed(
                source="ledger",
                detail=FROZEN,
                provider_reference="",
                message_id=None,
                booked_by=booking.transaction_id,
            )
            return Decision([*booking.events, (self.stream, failed)], self.stream)
        ask_at = later(now, self.patience_seconds)
        submitted = PayoutSubmitted(attempt=payout.attempts + 1, ask_at=ask_at)
        return Decision([(self.stream, submitted)], self.stream)


@dataclass(frozen=True, slots=True)
class RecordSilence(OnPayout):
    """Record that a submission or an inquiry got no usable answer. `detail` says why.

    Nothing is recorded if the payout has changed since it was `seen`: the change is the newer information. `is_silent`
    says that the provider answers nobody, and that whoever says so will ask as soon as it answers again.
    """

    source: Source
    detail: str
    is_silent: bool = False

    def decide(self, read: Read, now: Instant) -> Decision:
        """Put the payout in doubt and set when to ask the provider; raise `PayoutNotFound`."""
        payout = existing_payout(read(self.stream), self.seen.id)
        if payout.version != self.seen.version:
            return Decision((), self.stream)
        ask_at = payout.next_inquiry(now, is_answered=False, is_silent=self.is_silent)
        unanswered = PayoutUnanswered(source=self.source, detail=self.detail, ask_at=ask_at)
        return Decision([(self.stream, unanswered)], self.stream)
