"""Bookings: ordinary transactions that bring the books in line with the end of a payout, once.

The hold is settled or voided. If an operator later resolves a contradiction the other way, the posted amount is
reversed, or the released amount is posted again. Limits apply then, and may refuse it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from domain.model.commands import Decision, Read
from domain.model.entries import Entry
from domain.model.errors import RuleRefusal
from domain.model.events import Context, Event
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.payouts.payout import Payout
from domain.model.postings import PostTransaction
from domain.model.reversals import ReverseTransaction
from domain.model.streams import account_stream, payout_stream, transaction_stream
from domain.model.times import Instant
from domain.model.transactions import Description


class Booking(NamedTuple):
    """The events that book a payout's end, and the id of their transaction. Empty if the end is booked already."""

    events: Sequence[tuple[str, Event]] = ()
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True)
class OnPayout:
    """A request about a payout. `seen` is the payout as it was when the request was made.

    The request's key is the payout's key, a slash and `mark`. No client can use such a key, because keys of clients
    have no slash. Repeating it is a new request, so the key is never looked up. It only names the transaction that
    books the outcome.
    """

    context: Context
    seen: Payout
    mark: str

    own_stream: ClassVar[None] = None

    @property
    def ledger(self) -> str:
        """The ledger of the payout."""
        return self.seen.ledger

    @property
    def operation(self) -> Operation:
        """The request, with the id of the transaction that it may make."""
        key = f"{self.seen.idempotency_key}/{self.mark}"
        return Operation(key, operation_id(self.seen.ledger, key), self.seen.fingerprint)

    @property
    def stream(self) -> str:
        """The payout's stream."""
        return payout_stream(self.seen.ledger, self.seen.id)

    def streams(self) -> Sequence[str]:
        """Return the streams of the payout, of its two accounts and of its hold."""
        seen = self.seen
        return [
            self.stream,
            account_stream(seen.ledger, seen.account),
            account_stream(seen.ledger, seen.clearing_account),
            transaction_stream(seen.ledger, seen.id),
        ]

    def following_streams(self, read: Read) -> Sequence[str]:
        """Return the streams of the transaction that booked the payout last, and of the one that may book it now."""
        payout = read(self.stream)
        if not isinstance(payout, Payout):
            return []
        ids = (payout.booked_by, self.operation.id)
        return [transaction_stream(payout.ledger, id) for id in ids]

    def paid(self, payout: Payout, read: Read, now: Instant) -> Booking:
        """Return the booking that the money left.

        Raises a `RuleRefusal`: `AccountFrozen` if an account is frozen, and, if the amount must be posted again, what
        refuses a posting.
        """
        if payout.money == "paid":
            return Booking()
        keyed = (self.context, payout.ledger, self.operation, _description(payout))
        if payout.money == "held":
            return _booked(SettleHold(*keyed, payout.id).settle_whole, read, now)
        return _booked(PostTransaction(*keyed, _entries(payout)).book, read, now)

    def released(self, payout: Payout, read: Read, now: Instant) -> Booking:
        """Return the booking that the money did not leave.

        Raises the `RuleRefusal` of a reversal, if the amount was posted.
        """
        if payout.money == "released":
            return Booking()
        keyed = (self.context, payout.ledger, self.operation, _description(payout))
        if payout.money == "held":
            return _booked(VoidHold(*keyed, payout.id).release, read, now)
        return _booked(ReverseTransaction(*keyed, payout.booked_by).reverse, read, now)


def _booked(book: Callable[[Read, Instant], Decision], read: Read, now: Instant) -> Booking:
    """Return the booking. A refusal gets no pointer: it would point into the transaction, not into the request."""
    try:
        decision = book(read, now)
    except RuleRefusal as refusal:
        refusal.details.pop("pointer", None)
        raise
    stream, _ = decision.events[-1]
    return Booking(decision.events, stream.rpartition("/")[2])


def _description(payout: Payout) -> Description:
    return Description(reference=payout.reference, metadata=dict(payout.metadata))


def _entries(payout: Payout) -> tuple[Entry, ...]:
    return (
        Entry(account=payout.account, direction="debit", amount=payout.amount),
        Entry(account=payout.clearing_account, direction="credit", amount=payout.amount),
    )
