"""The requests that move money, each in one of several ways: at once, as a trial, accepted first, or together."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..bodies import encode
from ..entries import Amount, Entry
from ..keyed_requests import Item, Post, Reverse, Settle, Void
from ..keys import under
from ..outcomes import Outcome
from ..resources import Transaction
from .assets import Assets
from .keyed import KeyedCalls


class Postings(ABC):
    """Posts, holds, settles, voids and reverses. Each may have a `key`, `reference`, `description` and `metadata`.

    Each raises `InexactAmount` for money of another asset than the account's, `Problem` for a request that is malformed
    or not allowed, `Unusable` for a client that is closed, and `NoOutcome` if the last deadline has come without an
    outcome. Every exception has the key. A trial that is not answered raises `Unreachable`.
    """

    @abstractmethod
    async def carry_out(self, item: Item) -> Outcome[Transaction]:
        """Return what became of a request."""

    async def post(
        self, *entries: Entry, effective_at: datetime | None = None, **described: Any
    ) -> Outcome[Transaction]:
        """Post a transaction."""
        return await self.carry_out(Post(entries, effective_at=effective_at, **described))

    async def hold(
        self, *entries: Entry, expires_at: datetime | None = None, **described: Any
    ) -> Outcome[Transaction]:
        """Hold amounts until they are settled, voided, or the hold expires."""
        return await self.carry_out(Post(entries, pending=True, expires_at=expires_at, **described))

    async def settle(
        self,
        hold_id: str,
        *,
        amount: Amount | None = None,
        entries: Sequence[Entry] | None = None,
        **described: Any,
    ) -> Outcome[Transaction]:
        """Settle all of a hold, an `amount` of it, or parts of its entries. The rest is released."""
        parts = None if entries is None else tuple(entries)
        return await self.carry_out(Settle(hold_id, amount, parts, **described))

    async def void(self, hold_id: str, **described: Any) -> Outcome[Transaction]:
        """Release a hold."""
        return await self.carry_out(Void(hold_id, **described))

    async def reverse(
        self,
        transaction_id: str,
        *,
        amount: Amount | None = None,
        effective_at: datetime | None = None,
        **described: Any,
    ) -> Outcome[Transaction]:
        """Reverse what remains of a transaction, or an `amount` of it."""
        return await self.carry_out(Reverse(transaction_id, amount, effective_at, **described))


class SinglePostings(Postings):
    """Requests that travel alone. A trial (`dry_run`) records nothing; `respond_async` has each accepted first."""

    def __init__(
        self,
        keyed: KeyedCalls[Transaction],
        assets: Assets,
        *,
        dry_run: bool = False,
        respond_async: bool = False,
    ) -> None:
        self._keyed, self._assets = keyed, assets
        self._dry_run, self._respond_async = dry_run, respond_async

    async def carry_out(self, item: Item) -> Outcome[Transaction]:
        """Return what became of a request."""
        encode(item.body)  # raises what is the caller's mistake, before the key has any meaning
        with under(item.key, type(item).__name__):
            await self._assets.check(item)
            return await self._keyed.perform(item, dry_run=self._dry_run, respond_async=self._respond_async)
