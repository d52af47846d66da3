"""Postings and new holds: balanced entries that are recorded together or refused together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from domain.model.accounts import EntriesHeld, EntriesPosted, holding_refusal, posting_refusal
from domain.model.breaches import named_refusal
from domain.model.commands import Decision, Read
from domain.model.entries import Entry, Totals, entry_totals, posted_entries, require_balance
from domain.model.errors import InvalidRequest, RuleRefusal, first_of
from domain.model.events import Context, Event
from domain.model.idempotency import Operation
from domain.model.refusals import expired_before_it_was_made
from domain.model.streams import account_stream, ledger_stream, transaction_stream
from domain.model.times import Instant
from domain.model.transactions import (
    Acceptance,
    Description,
    Keyed,
    TransactionAccepted,
    TransactionHeld,
    TransactionPosted,
)


class PostTransaction(Keyed):
    """Post a transaction or, if `pending`, make a hold.

    `effective_at` defaults to the time of recording. A hold with `expires_at` is released at that instant at the
    latest.
    """

    entries: tuple[Entry, ...]
    effective_at: Instant | None = None
    pending: bool = False
    expires_at: Instant | None = None

    following_streams: ClassVar[None] = None

    def streams(self) -> Sequence[str]:
        """Return the streams of the ledger and of the accounts."""
        accounts = [account_stream(self.ledger, entry.account) for entry in self.entries]
        return [ledger_stream(self.ledger), *accounts]

    def decide_new(self, read: Read, now: Instant) -> Decision:
        """Post or hold, or record the refusal.

        Raises, in this order, `InvalidRequest` if `expires_at` is in the past, `AccountNotFound` and
        `UnbalancedTransaction`.
        """
        self.require_future(now)
        return self.make(read, now)

    def make(self, read: Read, now: Instant) -> Decision:
        """Decide a request whose key is free, or which was accepted and waits: post or hold, or record the refusal.

        Raises, in this order, `AccountNotFound` and `UnbalancedTransaction`.
        """
        try:
            return self.book(read, now)
        except RuleRefusal as refusal:
            return self.refuse(refusal, now)

    def book(self, read: Read, now: Instant) -> Decision:
        """Post or hold.

        Raises, in this order, `AccountNotFound`, `UnbalancedTransaction`, and the `RuleRefusal` of an account.
        """
        totals = entry_totals(self.ledger, self.entries, read)
        require_balance(totals)
        judge = holding_refusal if self.pending else posting_refusal
        refusal = first_of([judge(*total) for total in totals.values()])
        if refusal is not None:
            raise named_refusal(refusal, totals, self.entries, judge, pending=self.pending)
        stream = self.own_stream
        own = self._held(now) if self.pending else self._posted(totals, now)
        return Decision([*self._moves(totals), (stream, own)], stream)

    def refuse(self, refusal: RuleRefusal, now: Instant) -> Decision:
        """Record a refusal by a rule."""
        return self.rejected(
            "hold" if self.pending else "posting",
            refusal,
            self.entries,
            self.effective_at or now,
            expires_at=self.expires_at,
        )

    def require_future(self, now: Instant) -> None:
        """Raise `InvalidRequest` if `expires_at` is in the past."""
        if self.expires_at is not None and self.expires_at <= now:
            raise InvalidRequest("/expires_at", "expires_at is in the past")

    def _moves(self, totals: Totals) -> list[tuple[str, Event]]:
        moved = EntriesHeld if self.pending else EntriesPosted
        return [
            (
                account_stream(self.ledger, address),
                moved(transaction_id=self.operation.id, debits=debits, credits=credits),
            )
            for address, (_, debits, credits) in totals.items()
        ]

    def _posted(self, totals: Totals, now: Instant) -> TransactionPosted:
        return TransactionPosted(
            entries=posted_entries(self.entries, totals),
            effective_at=self.effective_at or now,
            **self.described(),
        )

    def _held(self, now: Instant) -> TransactionHeld:
        return TransactionHeld(
            entries=self.entries,
            effective_at=self.effective_at or now,
            expires_at=self.expires_at,
            **self.described(),
        )


class AcceptTransaction(PostTransaction):
    """Accept a posting or hold durably. `CompleteTransaction` carries it out later."""

    def decide_new(self, read: Read, now: Instant) -> Decision:
        """Accept the request after checking what can never change: that its accounts exist, and that it balances.

        Raises what `PostTransaction.decide_new` raises.
        """
        self.require_future(now)
        require_balance(entry_totals(self.ledger, self.entries, read))
        accepted = TransactionAccepted(
            entries=self.entries,
            pending=self.pending,
            expires_at=self.expires_at,
            effective_at=self.effective_at,
            **self.described(),
        )
        return Decision([(self.own_stream, accepted)], self.own_stream)


@dataclass(frozen=True, slots=True)
class CompleteTransaction:
    """Carry out an accepted request, in the name of the caller who sent it. Idempotent."""

    acceptance: Acceptance

    own_stream: ClassVar[None] = None
    following_streams: ClassVar[None] = None

    @property
    def ledger(self) -> str:
        """The ledger of the request."""
        return self.acceptance.ledger

    @property
    def context(self) -> Context:
        """The caller who asked, and the correlation of the request."""
        envelope = self.acceptance.envelope
        return Context(envelope.actor, envelope.correlation_id, envelope.traceparent)

    @property
    def operation(self) -> Operation:
        """The keyed request."""
        acceptance = self.acceptance
        return Operation(acceptance.idempotency_key, acceptance.id, acceptance.fingerprint)

    @property
    def request(self) -> PostTransaction:
        """The request in the form in which it is decided at once."""
        asked = self.acceptance.request
        return PostTransaction(
            self.context,
            self.acceptance.ledger,
            self.operation,
            Description(reference=asked.reference, description=asked.description, metadata=asked.metadata),
            asked.entries,
            asked.effective_at,
            asked.pending,
            asked.expires_at,
        )

    def streams(self) -> Sequence[str]:
        """Return the streams of the ledger, of the accounts, and of the transaction, which holds the acceptance."""
        own = transaction_stream(self.acceptance.ledger, self.acceptance.id)
        return [*self.request.streams(), own]

    def decide(self, read: Read, now: Instant) -> Decision:
        """Post, hold or refuse a request that still waits. A hold is refused if its `expires_at` has passed."""
        request = self.request
        if not isinstance(read(request.own_stream), Acceptance):
            return Decision((), request.own_stream)
        if request.expires_at is not None and request.expires_at <= now:
            return request.refuse(expired_before_it_was_made(request.expires_at), now)
        return request.make(read, now)
