"""Sees that money goes to accounts of its own asset. The ledger takes minor units, which do not say their asset."""

from ..errors import InexactAmount, OutcomeUnknown, Unreachable
from ..keyed_requests import Item, Post, RequestPayout, Reverse, Settle
from ..money import Money
from ..paths import segment
from ..problem import Unavailable
from ..resources import Account, Transaction
from .calls import Calls


class Assets:
    """The assets of a ledger's accounts. An account's asset never changes, so each is read once."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._known: dict[str, str] = {}

    async def asset_of(self, account: str) -> str:
        """Return the asset of an account. Raises `Problem`, `Unreachable`."""
        if account not in self._known:
            shown = await self._calls.read(Account, f"accounts/{segment(account)}")
            self._known[account] = shown.asset
        return self._known[account]

    async def money(self, account: str, minor_units: int) -> Money:
        """Return an amount of an account as money."""
        return Money.of_minor_units(minor_units, await self.asset_of(account))

    async def check(self, asked: Item | RequestPayout) -> None:
        """Raise `InexactAmount` if a request names money of another asset than its accounts have.

        Raises `Problem` for what it names and does not exist, `OutcomeUnknown` if that cannot be read.
        """
        try:
            await self._check(asked)
        except (Unreachable, Unavailable) as error:
            raise OutcomeUnknown(f"this call sent nothing: {error}", asked.key) from error

    async def _check(self, asked: Item | RequestPayout) -> None:
        if isinstance(asked, Post | Settle):
            for entry in asked.entries or ():
                await self._expect(entry.account, entry.asset)
        if isinstance(asked, RequestPayout) and isinstance(asked.amount, Money):
            await self._expect(asked.account, asked.amount.asset)
        if isinstance(asked, Settle | Reverse) and isinstance(asked.amount, Money):
            named = asked.hold_id if isinstance(asked, Settle) else asked.transaction_id
            original = await self._calls.read(Transaction, f"transactions/{segment(named)}")
            await self._expect(original.entries[0].account, asked.amount.asset)

    async def _expect(self, account: str, asset: str | None) -> None:
        if asset is not None and asset != (known := await self.asset_of(account)):
            raise InexactAmount(f"the account {account} is in {known}, not in {asset}")
