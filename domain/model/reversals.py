"""Reversals: the mirror of a posting or settlement, in whole, or in parts until the whole is reversed."""

from collections.abc import Sequence

from domain.model.accounts import EntriesPosted, about, posting_refusal
from domain.model.breaches import named_refusal
from domain.model.commands import Decision, Read
from domain.model.entries import Entry, Totals, debited, entry_totals, mirrored, posted_entries, scaled
from domain.model.errors import AmountExceedsReversible, NotReversible, RuleRefusal, first_of
from domain.model.events import Event
from domain.model.holds import OnTransaction, with_amount
from domain.model.refusals import amount_exceeds_reversible, not_reversible
from domain.model.streams import account_stream
from domain.model.times import Instant
from domain.model.transactions import ReversalPosted, Reversed, Transaction, existing_transaction


class ReverseTransaction(OnTransaction):
    """Reverse the rest of a transaction, or an `amount` if the transaction has two entries."""

    amount: int | None = None
    effective_at: Instant | None = None

    def decide_new(self, read: Read, now: Instant) -> Decision:
        """Post the mirror, or record the refusal.

        Raises, in this order, `TransactionNotFound`, and `InvalidRequest` for an `amount` if the transaction has more
        than two entries.
        """
        try:
            return self.reverse(read, now)
        except RuleRefusal as refusal:
            original = existing_transaction(read(self.named_stream), self.named_id)
            entries = self._entries(original)
            effective_at = self.effective_at or now
            return self.rejected("reversal", refusal, entries, effective_at, related_id=original.id)

    def reverse(self, read: Read, now: Instant) -> Decision:
        """Post the mirror; raise what `decide_new` raises, or the `RuleRefusal` that it would record."""
        original = existing_transaction(read(self.named_stream), self.named_id)
        entries = self._entries(original)
        totals = entry_totals(self.ledger, entries, read)
        of_accounts = [posting_refusal(*total) for total in totals.values()]
        refusal = first_of([_refusal(original, entries), *of_accounts])
        if refusal is not None:
            raise self._named(refusal, original, totals, entries)
        events: list[tuple[str, Event]] = [
            (
                account_stream(self.ledger, address),
                EntriesPosted(transaction_id=self.operation.id, debits=debits, credits=credits),
            )
            for address, (_, debits, credits) in totals.items()
        ]
        done = Reversed(reversed_by=self.operation.id, amount=debited(entries))
        own = ReversalPosted(
            reverses=original.id,
            entries=posted_entries(entries, totals),
            effective_at=self.effective_at or now,
            **self.described(),
        )
        return Decision([*events, (self.named_stream, done), (self.own_stream, own)], self.own_stream)

    def _named(
        self, refusal: type[RuleRefusal], original: Transaction, totals: Totals, entries: Sequence[Entry]
    ) -> RuleRefusal:
        """Return the refusal with its details."""
        if issubclass(refusal, NotReversible):
            return not_reversible(original.id, original.kind, original.status)
        if issubclass(refusal, AmountExceedsReversible):
            first = about(totals[entries[0].account][0], "/amount")
            left = original.reversible_amount
            return amount_exceeds_reversible(first, original.id, reversible=left, requested=debited(entries))
        return named_refusal(refusal, totals, entries, posting_refusal)

    def _entries(self, original: Transaction) -> tuple[Entry, ...]:
        mirror = mirrored(original.entries)
        if self.amount is not None:
            return with_amount(mirror, self.amount)
        remaining = original.reversible_amount
        # Only transactions of two entries are reversed in parts. If nothing remains, the refusal shows the whole.
        return scaled(mirror, remaining) if len(mirror) == 2 and remaining else mirror


def _refusal(original: Transaction, entries: Sequence[Entry]) -> type[RuleRefusal] | None:
    is_posted = original.kind in ("posting", "settlement") and original.status == "posted"
    if not is_posted or original.reversible_amount == 0:
        return NotReversible
    return AmountExceedsReversible if debited(entries) > original.reversible_amount else None
