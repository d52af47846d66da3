"""The payouts of a ledger: requested and awaited to their end."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..bodies import encode
from ..entries import Amount
from ..keyed_requests import RequestPayout
from ..keys import under
from ..outcomes import Outcome
from ..paths import segment
from ..resources import Payout
from . import lists
from .assets import Assets
from .calls import Calls
from .keyed import KeyedCalls


class Payouts:
    """The payouts of one ledger."""

    def __init__(self, calls: Calls, assets: Assets, keyed: KeyedCalls[Payout]) -> None:
        self._calls, self._assets, self._keyed = calls, assets, keyed

    async def request(
        self,
        account: str,
        amount: Amount,
        *,
        provider: str,
        destination: Mapping[str, Any],
        dry_run: bool = False,
        awaits_end: bool = True,
        **more: Any,
    ) -> Outcome[Payout]:
        """Pay an amount out, and wait for its end until the deadline. `more` is `key`, `reference`, `metadata`.

        Without `awaits_end` it is enough that the service has accepted it: `StillWorking`.

        Raises what every keyed call does (`Postings`).
        """
        asked = RequestPayout(
            account=account, amount=amount, provider=provider, destination=destination, **more
        )
        encode(asked.body)  # raises what is the caller's mistake, before the key has any meaning
        with under(asked.key, "RequestPayout"):
            await self._assets.check(asked)
            return await self._keyed.perform(asked, dry_run=dry_run, awaits_end=awaits_end)

    async def outcome_of(self, key: str) -> Outcome[Payout]:
        """Return what is known of the payout with a key. Raises `OperationUnknown` if nothing is recorded under it."""
        return await self._keyed.outcome_of(key)

    async def get(self, payout_id: str) -> Payout:
        """Return a payout with its history. Raises `Problem`, `Unreachable`."""
        return await self._calls.read(Payout, f"payouts/{segment(payout_id)}")

    def list(
        self, *, state: str | None = None, account: str | None = None, provider: str | None = None
    ) -> AsyncIterator[Payout]:
        """Yield payouts, the oldest first. Raises `Problem`, `Unreachable`."""
        return lists.items(self._calls, "payouts", Payout, state=state, account=account, provider=provider)

    async def reconcile(self, payout_id: str, reason: str = "") -> Payout:
        """Have the provider asked now. Raises `Problem`, `Unreachable`."""
        return await self._resolve(payout_id, "reconcile", {"reason": reason})

    async def complete(self, payout_id: str, reason: str) -> Payout:
        """Say that the money has left. Raises `Problem`, `Unreachable`."""
        return await self._resolve(payout_id, "complete", {"reason": reason})

    async def fail(self, payout_id: str, reason: str, *, is_not_paid: bool = False) -> Payout:
        """Say that the money has not left. `is_not_paid` confirms it for a payout that the provider may have got.

        Raises `Problem`, `Unreachable`.
        """
        confirmed = {"confirm": "not_paid"} if is_not_paid else {}
        return await self._resolve(payout_id, "fail", {"reason": reason, **confirmed})

    async def _resolve(self, payout_id: str, verb: str, body: dict[str, str]) -> Payout:
        return await self._calls.write(Payout, f"payouts/{segment(payout_id)}/{verb}", body)
