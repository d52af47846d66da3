"""The receiving side of a bridge: one command under the bridge's own key, every outcome of which is recorded."""

from collections.abc import Sequence
from typing import ClassVar

from domain.model.accounts import existing_account
from domain.model.commands import Decision, Read
from domain.model.entries import Entry
from domain.model.errors import AccountNotFound, RuleRefusal, UnbalancedTransaction
from domain.model.payouts.bridges import bridge_account
from domain.model.payouts.clearing import clearing_at
from domain.model.postings import PostTransaction
from domain.model.refusals import unbalanced_transaction
from domain.model.streams import account_stream, ledger_stream
from domain.model.times import Instant
from domain.model.transactions import Keyed

_TO_ACCOUNT = "/entries/1"


class ReceiveBridge(Keyed):
    """Credit an account with an amount that another ledger holds for it, and debit the account of that ledger.

    A submission can be delayed for any time, while the sender is asked to end the payout by what it finds here. So
    whatever the answer is, it is recorded under the key, also where another request would leave nothing behind: a
    delayed submission gets the same answer, and moves nothing.
    """

    sender: str
    account: str
    amount: int
    asset: str

    following_streams: ClassVar[None] = None

    def streams(self) -> Sequence[str]:
        """Return the streams of the ledger, of the account and of the account of the sender."""
        return [ledger_stream(self.ledger), account_stream(self.ledger, self.account), self._bridge_stream]

    def decide_new(self, read: Read, now: Instant) -> Decision:
        """Post, or record the refusal. The first bridge that is posted opens the account of the sender."""
        posting = PostTransaction(
            self.context, self.ledger, self.operation, self.description, self._entries()
        )
        try:
            self._require_asset(read)
            clearing = clearing_at(self._bridge_stream, self.asset, self, read, now)
            if refusal := clearing.refusal(self.asset, "/entries/0"):
                raise refusal
            booked = posting.book(clearing.beside(read), now)
        except (AccountNotFound, UnbalancedTransaction, RuleRefusal) as refused:
            return self.rejected("posting", refused, posting.entries, now)
        return booked._replace(events=[*clearing.opened, *booked.events])

    def _require_asset(self, read: Read) -> None:
        """Raise `AccountNotFound`, or `UnbalancedTransaction` if the account has another asset.

        An asset with the same code and another scale is another asset.
        """
        state = read(account_stream(self.ledger, self.account))
        account = existing_account(state, self.ledger, self.account, _TO_ACCOUNT)
        if account.asset != self.asset:
            raise unbalanced_transaction({self.asset: (self.amount, 0), account.asset: (0, self.amount)})

    def _entries(self) -> tuple[Entry, ...]:
        address = bridge_account(self.sender, self.asset)
        return (
            Entry(account=address, direction="debit", amount=self.amount),
            Entry(account=self.account, direction="credit", amount=self.amount),
        )

    @property
    def _bridge_stream(self) -> str:
        return account_stream(self.ledger, bridge_account(self.sender, self.asset))
