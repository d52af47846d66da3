"""Balances at a time and across accounts: requests and answers."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from api.http.fields import AddressPrefix, ListQuery, ProjectedQuery, Time
from api.http.models.choices import Clock
from api.http.models.formats import Instant
from domain.model.accounts import Account
from domain.model.money import ASSET_PATTERN, Direction
from projections.engine.live_version import Reading
from projections.read_models.balances_at import AssetTotals, PostedAt
from projections.read_models.groups import Group


class AtQuery(ProjectedQuery):
    """A time, inclusive, on one of the clocks."""

    at: Time | None = Field(None, description="the time, inclusive; default: now")
    clock: Clock = Field("effective", description="the clock that `at` is on")


class GroupsQuery(ListQuery, ProjectedQuery):
    """Which accounts to sum and how to group them. An empty filter is no filter."""

    prefix: AddressPrefix = Field("", description="only accounts whose address begins with this")
    asset: Annotated[str, Field(pattern=f"^(?:{ASSET_PATTERN[1:-1]})?$")] = ""
    group_by: Annotated[str, Field(pattern=r"^(?:segment:(?:[1-9]|10))?$")] = Field(
        "", description="`segment:N` groups by the first N segments, 1 … 10", examples=["segment:2"]
    )

    @property
    def segments(self) -> int | None:
        """How many segments name a group; None for one group of all accounts."""
        return int(self.group_by.removeprefix("segment:")) if self.group_by else None


class AccountBalanceBody(TypedDict):
    """What was posted to an account up to a time, in minor units. `balance` is on its normal side."""

    account: str
    asset: str
    clock: Clock
    at: Instant
    debits: int
    credits: int
    balance: int
    position: int


def account_balance_body(account: Account, clock: Clock, found: Reading[PostedAt]) -> AccountBalanceBody:
    """Return the body for an account's balance at a time."""
    at, (debits, credits) = found.found
    return {
        "account": account.address,
        "asset": account.asset,
        "clock": clock,
        "at": at,
        "debits": debits,
        "credits": credits,
        "balance": _balance(account.normal_side, debits, credits),
        "position": found.position,
    }


def _balance(normal_side: Direction, debits: int, credits: int) -> int:
    return credits - debits if normal_side == "credit" else debits - credits


Digits = Annotated[str, Field(pattern=r"^[0-9]+$")]
SignedDigits = Annotated[str, Field(pattern=r"^-?[0-9]+$")]


class GroupBalanceBody(TypedDict):
    """What was posted to the accounts of a group, in minor units. `balance` is credits − debits."""

    group: str | None
    asset: str
    accounts: int
    debits: Digits
    credits: Digits
    balance: SignedDigits


def group_balance_body(group: Group) -> GroupBalanceBody:
    """Return the body for a group."""
    return {
        "group": group.name or None,
        "asset": group.asset,
        "accounts": group.accounts,
        "debits": group.debits,
        "credits": group.credits,
        "balance": group.balance,
    }


class AssetTotalsBody(TypedDict):
    """The sums of all posted entries in one asset, in minor units."""

    asset: str
    debits: Digits
    credits: Digits


class TrialBalanceBody(TypedDict):
    """The totals of each asset that has entries by that time. In each, debits equal credits."""

    data: list[AssetTotalsBody]
    position: int


def trial_balance_body(found: Reading[list[AssetTotals]]) -> TrialBalanceBody:
    """Return the body for a trial balance."""
    totals: list[AssetTotalsBody] = [
        {"asset": asset, "debits": debits, "credits": credits} for asset, debits, credits in found.found
    ]
    return {"data": totals, "position": found.position}
