"""The payouts of a ledger: requested and awaited to their end."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..bodies import decode
from ..entries import Amount
from ..keyed_requests import RequestPayout
from ..outcomes import Outcome
from ..resources import Payout
from . import lists
from .assets import Assets
from .calls import Calls, segment
from .keyed import KeyedCalls


class Payouts:
    """The payouts of one ledger."""

    def __init__(self, calls: Calls, assets: Assets) -> None:
        self._calls, self._assets = calls, assets
        self._keyed = KeyedCalls(calls, Payout)

    def request(
        self,
        account: str,
        amount: Amount,
        *,
        provider: str,
        destination: Mapping[str, Any],
        dry_run: bool = False,
        **more: Any,
    ) -> Outcome[Payout]:
        """Pay an amount out, and wait for its end until the deadline. `more` is `key`, `reference`, `metadata`.

        Raises what every keyed call does (`Postings`).
        """
        self._assets.expect(account, amount)
        asked = RequestPayout(
            account=account, amount=amount, provider=provider, destination=destination, **more
        )
        return self._keyed.perform(asked, dry_run=dry_run)

    def outcome_of(self, key: str) -> Outcome[Payout]:
        """Return what is known of the payout with a key. Raises `OperationUnknown` if nothing is recorded under it."""
        return self._keyed.outcome_of(key)

    def get(self, payout_id: str) -> Payout:
        """Return a payout with its history. Raises `Problem`, `Unreachable`."""
        return decode(Payout, self._calls.read(f"payouts/{segment(payout_id)}"))

    def list(
        self, *, state: str | None = None, account: str | None = None, provider: str | None = None
    ) -> Iterator[Payout]:
        """Yield payouts, the oldest first. Raises `Problem`, `Unreachable`."""
        return lists.items(self._calls, "payouts", Payout, state=state, account=account, provider=provider)

    def reconcile(self, payout_id: str, reason: str = "") -> Payout:
        """Have the provider asked now. Raises `Problem`, `Unreachable`."""
        return self._resolve(payout_id, "reconcile", {"reason": reason})

    def complete(self, payout_id: str, reason: str) -> Payout:
        """Say that the money has left. Raises `Problem`, `Unreachable`."""
        return self._resolve(payout_id, "complete", {"reason": reason})

    def fail(self, payout_id: str, reason: str, *, is_not_paid: bool = False) -> Payout:
        """Say that the money has not left. `is_not_paid` confirms it for a payout that the provider may have got.

        Raises `Problem`, `Unreachable`.
        """
        confirmed = {"confirm": "not_paid"} if is_not_paid else {}
        return self._resolve(payout_id, "fail", {"reason": reason, **confirmed})

    def _resolve(self, payout_id: str, verb: str, body: dict[str, str]) -> Payout:
        return decode(Payout, self._calls.write(f"payouts/{segment(payout_id)}/{verb}", body))
