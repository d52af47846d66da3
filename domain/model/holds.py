"""Holds: settled in whole or in part, voided, or expired. The first of these ends the hold; it happens once.

A settlement moves pending amounts to posted and releases the rest. The limits of its accounts were checked when the
hold was made and are not checked again, but a frozen account refuses everything except voids and expiries
(api/README.md, Accounts and Transactions).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from domain.model.accounts import Account, EntriesReleased, EntriesSettled, about, status_refusal
from domain.model.breaches import named_refusal
from domain.model.commands import Decision, Read
from domain.model.entries import Entry, Totals, entry_totals, posted_entries, require_balance, scaled
from domain.model.errors import (
    AmountExceedsHold,
    HoldExpired,
    HoldNotPending,
    HoldReserved,
    InvalidRequest,
    RuleRefusal,
    first_of,
)
from domain.model.events import Context, Event, State
from domain.model.refusals import amount_exceeds_hold, hold_expired, hold_not_pending, hold_reserved
from domain.model.streams import account_stream, ledger_stream, payout_stream, transaction_stream
from domain.model.times import Instant
from domain.model.transactions import (
    Expired,
    Keyed,
    Settled,
    SettlementPosted,
    Transaction,
    Voided,
    VoidRecorded,
    existing_transaction,
)


class OnTransaction(Keyed):
    """A keyed request about an earlier transaction, which it names by id."""

    named_id: str

    @property
    def named_stream(self) -> str:
        """The stream of the named transaction."""
        return transaction_stream(self.ledger, self.named_id)

    def streams(self) -> Sequence[str]:
        """Return the streams of the ledger and of the named transaction."""
        return (ledger_stream(self.ledger), self.named_stream)

    def following_streams(self, read: Read) -> Sequence[str]:
        """Return the streams of the accounts of the named transaction."""
        return account_streams(read(self.named_stream))


class OnHold(OnTransaction):
    """A keyed request about a hold. The hold of a payout is refused: only the payout may end it."""

    def streams(self) -> Sequence[str]:
        """Return the streams of the ledger, of the hold, and of the payout that may own the hold."""
        return (ledger_stream(self.ledger), self.named_stream, payout_stream(self.ledger, self.named_id))

    def refusal(self, hold: Transaction, read: Read, now: Instant) -> type[RuleRefusal] | None:
        """Return why the transaction cannot be settled or voided as a hold, or None if it can."""
        if hold.has_expired(now):
            return HoldExpired
        if hold.status != "pending":
            return HoldNotPending
        return None if read(payout_stream(self.ledger, self.named_id)) is None else HoldReserved


class SettleHold(OnHold):
    """Post all of a hold, an `amount` of a hold with two entries, or the parts `entries`; release the rest. Once."""

    amount: int | None = None
    entries: tuple[Entry, ...] | None = None

    def decide_new(self, read: Read, now: Instant) -> Decision:
        """Post the parts and release the rest, or record the refusal.

        Raises, in this order, `TransactionNotFound`, `InvalidRequest` if the parts do not fit the hold, and
        `UnbalancedTransaction`.
        """
        hold = existing_transaction(read(self.named_stream), self.named_id)
        parts = self._parts(hold)
        held, settled = entry_totals(self.ledger, hold.entries, read), entry_totals(self.ledger, parts, read)
        require_balance(settled)
        of_accounts = [_status_refusal(*total) for total in held.values()]
        refusal = first_of([self.refusal(hold, read, now), *of_accounts, _excess(parts, hold.entries)])
        if refusal is not None:
            named = self._named(refusal, hold, parts, held)
            return self.rejected("settlement", named, parts, now, related_id=hold.id)
        return self._settle(hold, parts, held, settled, now)

    def settle_whole(self, read: Read, now: Instant) -> Decision:
        """Post all of a hold that is pending; raise the `RuleRefusal` of an account."""
        hold = existing_transaction(read(self.named_stream), self.named_id)
        held = entry_totals(self.ledger, hold.entries, read)
        refusal = first_of([_status_refusal(*total) for total in held.values()])
        if refusal is not None:
            raise self._named(refusal, hold, hold.entries, held)
        return self._settle(hold, hold.entries, held, held, now)

    def _settle(
        self, hold: Transaction, parts: tuple[Entry, ...], held: Totals, settled: Totals, now: Instant
    ) -> Decision:
        own = SettlementPosted(
            settles=hold.id, entries=posted_entries(parts, settled), effective_at=now, **self.described()
        )
        return Decision(
            [
                *self._moves(held, settled),
                (self.named_stream, Settled(settled_by=self.operation.id)),
                (self.own_stream, own),
            ],
            self.own_stream,
        )

    def _named(
        self, refusal: type[RuleRefusal], hold: Transaction, parts: Sequence[Entry], held: Totals
    ) -> RuleRefusal:
        """Return the refusal with its details."""
        if refusal in _OF_HOLDS:
            return refusal_of_hold(refusal, hold)
        if issubclass(refusal, AmountExceedsHold):
            return self._named_excess(hold, parts, held)
        return named_refusal(refusal, held, parts, _status_refusal)

    def _named_excess(self, hold: Transaction, parts: Sequence[Entry], held: Totals) -> RuleRefusal:
        """Return the refusal, pointing at the first entry whose account and direction are settled for too much."""
        left, requested = _sums(hold.entries), _sums(parts)
        place = next(
            place for place, entry in enumerate(parts) if requested[_side(entry)] > left[_side(entry)]
        )
        side = _side(parts[place])
        pointer = f"/entries/{place}" if self.amount is None else "/amount"
        account = held[parts[place].account][0]
        return amount_exceeds_hold(
            about(account, pointer), hold.id, held=left[side], requested=requested[side]
        )

    def _parts(self, hold: Transaction) -> tuple[Entry, ...]:
        """Return the entries to post. Raises `InvalidRequest` if the hold has no such account and direction."""
        if self.amount is not None:
            return with_amount(hold.entries, self.amount)
        if self.entries is None:
            return hold.entries
        sides = {(entry.account, entry.direction) for entry in hold.entries}
        for number, entry in enumerate(self.entries):
            if (entry.account, entry.direction) not in sides:
                raise InvalidRequest(
                    f"/entries/{number}", "the hold has no entry of this account and direction"
                )
        return self.entries

    def _moves(self, held: Totals, settled: Totals) -> list[tuple[str, Event]]:
        events: list[tuple[str, Event]] = []
        for address, (_, held_debits, held_credits) in held.items():
            _, debits, credits = settled.get(address, (None, 0, 0))
            moved = EntriesSettled(
                transaction_id=self.operation.id,
                hold_id=self.named_id,
                held_debits=held_debits,
                held_credits=held_credits,
                debits=debits,
                credits=credits,
            )
            events.append((account_stream(self.ledger, address), moved))
        return events


class VoidHold(OnHold):
    """Release a hold. The transaction of the void shows the released entries."""

    def decide_new(self, read: Read, now: Instant) -> Decision:
        """Release the hold, or record the refusal; raise `TransactionNotFound`."""
        hold = existing_transaction(read(self.named_stream), self.named_id)
        if (refusal := self.refusal(hold, read, now)) is not None:
            named = refusal_of_hold(refusal, hold)
            return self.rejected("void", named, hold.entries, now, related_id=hold.id)
        return self.release(read, now)

    def release(self, read: Read, now: Instant) -> Decision:
        """Release a hold that is pending."""
        hold = existing_transaction(read(self.named_stream), self.named_id)
        own = VoidRecorded(voids=hold.id, entries=hold.entries, effective_at=now, **self.described())
        voided = (self.named_stream, Voided(voided_by=self.operation.id))
        return Decision([*_releases(hold, read), voided, (self.own_stream, own)], self.own_stream)


@dataclass(frozen=True, slots=True)
class ExpireHold:
    """Release a hold whose time is over, if it is still pending. Idempotent."""

    context: Context
    ledger: str
    hold_id: str

    operation: ClassVar[None] = None
    own_stream: ClassVar[None] = None

    def streams(self) -> Sequence[str]:
        """Return the stream of the hold."""
        return (transaction_stream(self.ledger, self.hold_id),)

    def following_streams(self, read: Read) -> Sequence[str]:
        """Return the streams of the hold's accounts."""
        return account_streams(read(transaction_stream(self.ledger, self.hold_id)))

    def decide(self, read: Read, now: Instant) -> Decision:
        """Release the hold if its time is over; raise `TransactionNotFound`."""
        stream = transaction_stream(self.ledger, self.hold_id)
        hold = existing_transaction(read(stream), self.hold_id)
        if hold.status != "pending" or not hold.has_expired(now):
            return Decision((), stream)
        return Decision([*_releases(hold, read), (stream, Expired())], stream)


def account_streams(state: State) -> Sequence[str]:
    """Return the streams of a transaction's accounts; empty if there is no transaction."""
    if not isinstance(state, Transaction):
        return ()
    return [account_stream(state.ledger, entry.account) for entry in state.entries]


def with_amount(entries: Sequence[Entry], amount: int) -> tuple[Entry, ...]:
    """Return the two entries of a transaction with another amount; raise `InvalidRequest` if it has more than two."""
    if len(entries) != 2:
        raise InvalidRequest("/amount", "an amount is accepted only if the transaction has two entries")
    return scaled(entries, amount)


_OF_HOLDS = (HoldExpired, HoldNotPending, HoldReserved)


def refusal_of_hold(refusal: type[RuleRefusal], hold: Transaction) -> RuleRefusal:
    """Return the refusal to settle or void a transaction as a hold, with its details."""
    if issubclass(refusal, HoldExpired):
        return hold_expired(hold.id, hold.expires_at)
    if issubclass(refusal, HoldReserved):
        return hold_reserved(hold.id)
    ended_by = hold.related.settled_by or hold.related.voided_by
    return hold_not_pending(hold.id, hold.kind, hold.status, ended_by)


def _status_refusal(account: Account, debits: int, credits: int) -> type[RuleRefusal] | None:
    return status_refusal(account)


def _excess(parts: Sequence[Entry], held: Sequence[Entry]) -> type[RuleRefusal] | None:
    left = _sums(held)
    for entry in parts:
        left[_side(entry)] -= entry.amount
    return AmountExceedsHold if min(left.values()) < 0 else None


def _sums(entries: Sequence[Entry]) -> Counter[tuple[str, str]]:
    sums: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        sums[_side(entry)] += entry.amount
    return sums


def _side(entry: Entry) -> tuple[str, str]:
    return entry.account, entry.direction


def _releases(hold: Transaction, read: Read) -> list[tuple[str, Event]]:
    totals = entry_totals(hold.ledger, hold.entries, read)
    return [
        (
            account_stream(hold.ledger, address),
            EntriesReleased(hold_id=hold.id, debits=debits, credits=credits),
        )
        for address, (_, debits, credits) in totals.items()
    ]
