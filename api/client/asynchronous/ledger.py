"""One ledger: money moves here, and what became of it is read here."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any

from ..history import Event, Operation, Trace
from ..keyed_requests import Item
from ..keys import log
from ..money import Money
from ..outcomes import Outcome
from ..paths import operation_path, segment
from ..resources import GroupBalance, LedgerInfo, Payout, Transaction, TrialBalance
from . import lists
from .accounts import Accounts
from .assets import Assets
from .batches import Batches, Mode
from .calls import Calls
from .coalescing import CoalescedPostings
from .keyed import KeyedCalls
from .payouts import Payouts
from .postings import SinglePostings
from .transport import Transport


class Ledger(SinglePostings):
    """A ledger. Keyed calls return `Done`, `Refused` or `StillWorking`. Reads raise `Problem`, `Unreachable`.

    `dry_run` and `accepted` carry out the same requests as the ledger itself: as a trial, which records nothing, and
    accepted durably before they are carried out. Lists include everything that this ledger was told of. If the service
    cannot have it any more, because an older backup was restored, they raise `HistoryLost`.
    """

    def __init__(self, transport: Transport, name: str) -> None:
        self.name = name
        self._calls = Calls(transport, f"/v1/ledgers/{segment(name)}")
        assets, keyed = Assets(self._calls), KeyedCalls(self._calls, name, Transaction)
        super().__init__(keyed, assets)
        self._batches = Batches(self._calls, name, keyed)
        self.dry_run = SinglePostings(keyed, assets, dry_run=True)
        self.accepted = SinglePostings(keyed, assets, respond_async=True)
        self.accounts = Accounts(self._calls)
        self.payouts = Payouts(self._calls, assets, KeyedCalls(self._calls, name, Payout))

    @property
    def position(self) -> int:
        """The newest position that the service told of. Another process that is given it reads at least so far."""
        return self._calls.position

    def know(self, position: int) -> None:
        """Read lists from at least this position on."""
        self._calls.know(position)

    def forget_position(self) -> None:
        """Read lists from any position on, after `HistoryLost`: what they lack, the service has lost."""
        self._calls.forget()

    def coalescing(self, *, max_senders: int = 1) -> CoalescedPostings:
        """Return what carries out the requests of many callers in batches. Use it in a `with` statement."""
        return CoalescedPostings(self._batches, self._keyed, self._assets, max_senders)

    async def batch(
        self, items: Iterable[Item], mode: Mode = "independent", *, dry_run: bool = False
    ) -> list[Outcome[Transaction]]:
        """Carry out any number of requests in order, and return one outcome for each.

        Raises `BatchRejected` for an atomic batch, another `Problem` if nothing was carried out, `BatchIncomplete` if
        something was or may have been. Before anything is sent: `InexactAmount`, or `OutcomeUnknown` if an account's
        asset cannot be read.
        """
        together = tuple(items)
        for item in together:
            log.info("%s in a batch under the key %s", type(item).__name__, item.key)
            await self._assets.check(item)
        return await self._batches.carry_out(together, mode, dry_run)

    async def outcome_of(self, key: str) -> Outcome[Transaction]:
        """Return what is known of a key now. Raises `OperationUnknown` if nothing is recorded under it."""
        return await self._keyed.outcome_of(key)

    async def operation(self, key: str) -> Operation:
        """Return what became of a keyed request. Raises `OperationUnknown` if nothing is recorded under its key."""
        return await self._calls.read(Operation, operation_path(key))

    async def trace(self, key: str) -> Trace:
        """Return the whole story of a keyed request, with the verdict."""
        return await self._calls.read(Trace, f"{operation_path(key)}/trace")

    async def conversation(self, correlation_id: str) -> Trace:
        """Return the whole story of a correlation id."""
        return await self._calls.read(Trace, "trace", correlation_id=correlation_id)

    async def info(self) -> LedgerInfo:
        """Return the ledger's own attributes."""
        path, _, name = self._calls.path.rpartition("/")
        return await Calls(self._calls.transport, path).read(LedgerInfo, name)

    async def transaction(self, transaction_id: str) -> Transaction:
        """Return a transaction."""
        return await self._calls.read(Transaction, f"transactions/{segment(transaction_id)}")

    def transactions(self, **filters: Any) -> AsyncIterator[Transaction]:
        """Yield transactions, the oldest first.

        Filters are `account`, `prefix`, `reference`, `status`, `kind`, `correlation_id`, `metadata` (a dict),
        `recorded_from`, `recorded_to`, `effective_from`, `effective_to` and `order`.
        """
        return lists.items(self._calls, "transactions", Transaction, **filters)

    def events(
        self,
        after: int = 0,
        *,
        follow: bool = False,
        account: str | None = None,
        transaction_id: str | None = None,
        correlation_id: str | None = None,
        actor: str | None = None,
        type: str | None = None,
        from_: datetime | None = None,
        to: datetime | None = None,
    ) -> AsyncIterator[Event]:
        """Yield the ledger's events after a position. With `follow` it waits for further ones for ever.

        To go on later, begin after the position of the last event that was dealt with.
        """
        filters = {
            "account": account,
            "transaction_id": transaction_id,
            "correlation_id": correlation_id,
            "actor": actor,
            "type": type,
            "from_": from_,
            "to": to,
        }
        return lists.events(self._calls, after, follow, **filters)

    def balances(
        self, *, prefix: str | None = None, asset: str | None = None, segments: int | None = None
    ) -> AsyncIterator[GroupBalance]:
        """Yield the sums of accounts, grouped by the first segments of their addresses."""
        group_by = None if segments is None else f"segment:{segments}"
        return lists.items(
            self._calls, "balances", GroupBalance, prefix=prefix, asset=asset, group_by=group_by
        )

    async def trial_balance(self, at: datetime | None = None, clock: str | None = None) -> TrialBalance:
        """Return the totals in each asset: debits equal credits."""
        return await self._calls.read_list(TrialBalance, "trial-balance", at=at, clock=clock)

    async def money(self, account: str, minor_units: int) -> Money:
        """Return an amount of an account as money."""
        return await self._assets.money(account, minor_units)
