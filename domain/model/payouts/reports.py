"""A provider's reports on a payout, compared with what is known: an end, nothing new, or a contradiction.

However late, however often and in whatever order reports come, the same report ends a payout only once.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from domain.model.commands import Decision, Read
from domain.model.errors import AccountFrozen
from domain.model.events import Event
from domain.model.payouts.bookings import Booking, OnPayout
from domain.model.payouts.payout import (
    Payout,
    PayoutCompleted,
    PayoutContradicted,
    PayoutFailed,
    PayoutReported,
    Source,
    Verdict,
    existing_payout,
)
from domain.model.times import Instant

MAX_NOTED_CALLBACKS = 100
"""How many callbacks of one payout are recorded, so that its history stays short whatever a provider sends. A callback
that ends the payout, or contradicts what is known, is always recorded."""


class Report(NamedTuple):
    """What a provider says about a payout: verdict, amount and asset if it names them, words, reference."""

    verdict: Verdict
    amount: int | None = None
    asset: str | None = None
    detail: str = ""
    reference: str = ""


Consequence = Literal["completes", "fails", "tells", "contradicts"]

# What a report means for a payout that was submitted and whose end is not known.
_OPEN: dict[Verdict, Consequence] = {
    "completed": "completes",
    "failed": "fails",
    "processing": "tells",
    "unknown": "tells",
}
# What a report means for a payout that has ended. "Processing" is an earlier report that comes late. A provider need
# not know a payout that failed.
_COMPLETED: dict[Verdict, Consequence] = {
    "completed": "tells",
    "failed": "contradicts",
    "processing": "tells",
    "unknown": "contradicts",
}
_FAILED: dict[Verdict, Consequence] = {
    "completed": "contradicts",
    "failed": "tells",
    "processing": "tells",
    "unknown": "tells",
}


def consequence(payout: Payout, report: Report, source: Source) -> Consequence:
    """Return what a report does to the payout."""
    differs = difference(payout, report)
    match payout.state:
        case "stuck":
            # An operator asked for the inquiry. If its answer agrees with the books, it resolves the payout.
            is_agreed = not differs and source == "inquiry"
            return _agreement(payout, report.verdict) if is_agreed else "tells"
        case "completed" if not differs:
            return _COMPLETED[report.verdict]
        case "failed" if not differs or report.verdict != "completed":
            return _FAILED[report.verdict]
        case "submitted" | "in_doubt" if not differs:
            return _OPEN[report.verdict]
    return "contradicts"


def difference(payout: Payout, report: Report) -> str:
    """Return why a report cannot be about this payout as it was submitted, or an empty text if it can."""
    if report.amount not in (None, payout.amount):
        return "the provider names another amount"
    if report.asset not in (None, payout.asset):
        return "the provider names another asset"
    if report.verdict == "unknown" and payout.is_acknowledged and payout.state in ("submitted", "in_doubt"):
        return "the provider no longer knows what it had acknowledged"
    return ""


def _agreement(payout: Payout, verdict: Verdict) -> Consequence:
    if verdict == "completed" and payout.money != "released":
        return "completes"
    if verdict == "failed" and payout.money != "paid":
        return "fails"
    return "tells"


@dataclass(frozen=True, slots=True)
class RecordReport(OnPayout):
    """Record a provider's report: the answer to a submission or an inquiry, or the callback `message_id`."""

    source: Source
    report: Report
    message_id: str | None = None

    def decide(self, read: Read, now: Instant) -> Decision:
        """End the payout, note the report, or record the contradiction; nothing if the report was noted before.

        Raises `PayoutNotFound`.
        """
        payout = existing_payout(read(self.stream), self.seen.id)
        follows = consequence(payout, self.report, self.source)
        if self._is_noted(payout, follows) or self._is_outdated(payout, follows):
            return Decision((), self.stream)
        match follows:
            case "completes":
                return self._completed(payout, read, now)
            case "fails":
                booking = self.released(payout, read, now)
                return self._recorded(booking, PayoutFailed(booked_by=booking.transaction_id, **self._told()))
            case "contradicts":
                return self._recorded(Booking(), self._contradiction(payout))
        return self._recorded(Booking(), self._note(payout, now))

    def _completed(self, payout: Payout, read: Read, now: Instant) -> Decision:
        """Complete the payout. While an account is frozen, only note the report: a later inquiry will book it."""
        try:
            booking = self.paid(payout, read, now)
        except AccountFrozen as refusal:
            return self._recorded(
                Booking(), self._note(payout, now, f"it is not booked yet: {refusal.detail}")
            )
        return self._recorded(booking, PayoutCompleted(booked_by=booking.transaction_id, **self._told()))

    def _is_noted(self, payout: Payout, follows: Consequence) -> bool:
        """Tell whether this callback was recorded before, or ends nothing and enough such callbacks were recorded."""
        has_enough = len(payout.messages) >= MAX_NOTED_CALLBACKS and follows == "tells"
        return self.message_id in payout.messages or (self.source == "callback" and has_enough)

    def _is_outdated(self, payout: Payout, follows: Consequence) -> bool:
        """Tell whether this answer ends nothing, and the payout has changed since the question was asked."""
        has_changed = self.source != "callback" and payout.version != self.seen.version
        return has_changed and (follows == "tells" or self.report.verdict == "unknown")

    def _recorded(self, booking: Booking, own: Event) -> Decision:
        return Decision([*booking.events, (self.stream, own)], self.stream)

    def _told(self, detail: str = "") -> dict[str, Any]:
        return {
            "source": self.source,
            "detail": detail or self.report.detail,
            "provider_reference": self.report.reference,
            "message_id": self.message_id,
        }

    def _contradiction(self, payout: Payout) -> PayoutContradicted:
        report = self.report
        words = difference(payout, report) or f"the provider says {report.verdict}, after {payout.state}"
        detail = f"{words}: {report.detail}" if report.detail else words
        return PayoutContradicted(
            verdict=report.verdict, amount=report.amount, asset=report.asset, **self._told(detail)
        )

    def _note(self, payout: Payout, now: Instant, detail: str = "") -> PayoutReported:
        return PayoutReported(
            verdict=self.report.verdict, ask_at=self._ask_at(payout, now), **self._told(detail)
        )

    def _ask_at(self, payout: Payout, now: Instant) -> Instant | None:
        """Return when the ledger must act next: now if the provider never heard of the payout."""
        if payout.state in ("submitted", "in_doubt"):
            return now if self.report.verdict == "unknown" else payout.next_inquiry(now, is_answered=True)
        return payout.due_at if self.source == "callback" else None
