"""Balances of groups of accounts, summed from the projection `balances`: posted amounts, without pending ones.

The cost of a page grows with the number of accounts that have the prefix, minus those of the pages before.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from projections.engine.live_version import Page, read_live
from projections.engine.projection import directed, versioned
from projections.read_models.balances import PROJECTION


class GroupPlace(NamedTuple):
    """The place of a group in the list. The name is empty if all accounts are one group."""

    name: str
    asset: str


class Group(NamedTuple):
    """The accounts of one asset whose addresses begin alike, and their sums in minor units, as digits.

    `name` is the common beginning, empty if all accounts are one group. `balance` is credits − debits.
    """

    name: str
    asset: str
    accounts: int
    debits: str
    credits: str
    balance: str

    @property
    def place(self) -> GroupPlace:
        """Return the place of the group. The next page comes after it."""
        return GroupPlace(self.name, self.asset)


def list_groups(
    connection: Connection[Any],
    ledger: str,
    *,
    segments: int | None = None,
    prefix: str | None = None,
    asset: str | None = None,
    after: GroupPlace | None = None,
    limit: int,
    descending: bool = False,
    existing: Sequence[str] = (),
) -> Page[Group]:
    """Return up to `limit` groups by name and asset that come after the place `after`.

    Addresses with the same first `segments` segments are a group. Shorter addresses are groups of their own, and None
    makes all accounts one group. `prefix` and `asset` choose the accounts; null or empty chooses all.
    `existing` is as for `read_live`.
    """
    wanted = {
        "ledger": ledger,
        "segments": segments,
        "prefix": prefix or None,
        "asset": asset or None,
        "from_address": after.name if after and not descending else None,
        "after_name": after.name if after else None,
        "after_asset": after.asset if after else None,
        "limit": limit,
    }
    reading = read_live(
        connection,
        PROJECTION,
        lambda cursor, version: cursor.execute(
            directed(versioned(__name__, version)["groups"], descending=descending), wanted, prepare=False
        ).fetchall(),
        existing=existing,
    )
    return Page([Group(*row) for row in reading.found], *reading[1:])
