"""Sees that money goes to accounts of its own asset. The ledger takes minor units, which do not say their asset."""

from ..bodies import decode
from ..entries import Amount
from ..errors import InexactAmount
from ..keyed_requests import Item, Post, Reverse, Settle
from ..money import Money
from ..resources import Account, Transaction
from .calls import Calls, segment


class Assets:
    """The assets of a ledger's accounts. An account's asset never changes, so each is read once."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._known: dict[str, str] = {}

    async def asset_of(self, account: str) -> str:
        """Return the asset of an account. Raises `Problem`, `Unreachable`."""
        if account not in self._known:
            shown = decode(Account, await self._calls.read(f"accounts/{segment(account)}"))
            self._known[account] = shown.asset
        return self._known[account]

    async def money(self, account: str, minor_units: int) -> Money:
        """Return an amount of an account as money."""
        return Money.of_minor_units(minor_units, await self.asset_of(account))

    async def expect(self, account: str, amount: Amount | str | None) -> None:
        """Raise `InexactAmount` if money, or an asset, is not of the account's asset."""
        asset = amount.asset if isinstance(amount, Money) else amount
        if isinstance(asset, str) and asset != (known := await self.asset_of(account)):
            raise InexactAmount(f"the account {account} is in {known}, not in {asset}")

    async def check(self, item: Item) -> None:
        """Raise `InexactAmount` if a request names money of another asset than its accounts have."""
        if isinstance(item, Post | Settle):
            for entry in item.entries or ():
                await self.expect(entry.account, entry.asset)
        if isinstance(item, Settle | Reverse) and isinstance(item.amount, Money):
            named = item.hold_id if isinstance(item, Settle) else item.transaction_id
            original = decode(Transaction, await self._calls.read(f"transactions/{segment(named)}"))
            await self.expect(original.entries[0].account, item.amount)
