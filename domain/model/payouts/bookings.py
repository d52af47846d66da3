"""What the books say of a payout's money, brought in line with its end: once, by ordinary transactions.

The hold is settled or voided. Where an operator resolves a contradiction the other way after that, what was posted is
reversed, or what was released is posted anew; then limits apply, and may refuse it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from domain.model.commands import Decision, Read
from domain.model.entries import Entry
from domain.model.errors import RULE_PRECEDENCE
from domain.model.events import Context, Event
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.payouts.payout import Payout
from domain.model.postings import PostTransaction
from domain.model.refusals import repeated
from domain.model.reversals import ReverseTransaction
from domain.model.streams import account_stream, payout_stream, transaction_stream
from domain.model.times import Instant
from domain.model.transactions import Description, TransactionRejected

_REFUSALS = {refusal.code: refusal for refusal in RULE_PRECEDENCE}


class Booking(NamedTuple):
    """The events that book a payout's end, and the id of the transaction that does; nothing where it was booked."""

    events: Sequence[tuple[str, Event]] = ()
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True)
class OnPayout:
    """A request that concerns a payout, which is `seen` as it was when the request was made.

    It has a key that follows from the payout's own, and that no client can use, having a slash in it: `mark` tells the
    request from all others. Who asks twice asks for two things, so it is not looked up; but the transaction that books
    an end is named by it, as every transaction is by its key.
    """

    context: Context
    seen: Payout
    mark: str

    own_stream: ClassVar[None] = None

    @property
    def operation(self) -> Operation:
        """The request, and the transaction that it may make."""
        key = f"{self.seen.idempotency_key}/{self.mark}"
        return Operation(key, operation_id(self.seen.ledger, key), self.seen.fingerprint)

    @property
    def stream(self) -> str:
        """The payout's stream."""
        return payout_stream(self.seen.ledger, self.seen.id)

    def streams(self) -> Sequence[str]:
        """Return the streams of the payout, of its accounts and of its hold."""
        seen = self.seen
        return [
            self.stream,
            account_stream(seen.ledger, seen.account),
            account_stream(seen.ledger, seen.clearing_account),
            transaction_stream(seen.ledger, seen.id),
        ]

    def following_streams(self, read: Read) -> Sequence[str]:
        """Return the streams of the transaction that booked the payout last, and of the one that may do so now."""
        payout = read(self.stream)
        if not isinstance(payout, Payout):
            return []
        ids = (payout.booked_by, self.operation.id)
        return [transaction_stream(payout.ledger, id) for id in ids]

    def paid(self, payout: Payout, read: Read, now: Instant) -> Booking:
        """Return what books that the money left.

        Raises a `RuleRefusal`: `AccountFrozen` of an account that is, and, where the amount has to be posted anew, what
        refuses a posting.
        """
        if payout.money == "paid":
            return Booking()
        keyed = (self.context, payout.ledger, self.operation, _description(payout))
        if payout.money == "held":
            return _booked(SettleHold(*keyed, payout.id).settle_whole(read, now))
        return _booked(PostTransaction(*keyed, _entries(payout)).make(read, now))

    def released(self, payout: Payout, read: Read, now: Instant) -> Booking:
        """Return what books that the money did not leave.

        Raises the `RuleRefusal` of a reversal, where the amount was posted.
        """
        if payout.money == "released":
            return Booking()
        keyed = (self.context, payout.ledger, self.operation, _description(payout))
        if payout.money == "held":
            return _booked(VoidHold(*keyed, payout.id).release(read, now))
        return _booked(ReverseTransaction(*keyed, payout.booked_by).decide_new(read, now))


def _booked(decision: Decision) -> Booking:
    stream, own = decision.events[-1]
    if isinstance(own, TransactionRejected):
        raise repeated(_REFUSALS[own.code], own.detail, own.details)
    return Booking(decision.events, stream.rpartition("/")[2])


def _description(payout: Payout) -> Description:
    return Description(reference=payout.reference, metadata=dict(payout.metadata))


def _entries(payout: Payout) -> tuple[Entry, ...]:
    return (
        Entry(account=payout.account, direction="debit", amount=payout.amount),
        Entry(account=payout.clearing_account, direction="credit", amount=payout.amount),
    )
