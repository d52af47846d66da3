"""Truth beside the list: an account as the journal has it, next to its row in the projection, and the difference."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from api.console.formats import grouped
from api.console.inside import Refused
from api.console.view import Shown, View, page

PROJECTION = "balances"

AMOUNTS = ("posted.debits", "posted.credits", "pending.debits", "pending.credits", "balance", "available")
MEMBERS = (*AMOUNTS, "min_balance", "max_balance", "status", "metadata", "version", "position")
"""What is compared. An account's other members never change."""


class Member(NamedTuple):
    """A member of an account in the journal and in the projection. `difference` is in minor units, None if it is no
    amount."""

    name: str
    journal: Any
    projection: Any
    difference: int | None

    @property
    def is_same(self) -> bool:
        """Whether both have the same value."""
        return bool(self.journal == self.projection)


@page("/console/ledgers/{ledger}/accounts/{address}/truth")
async def show_truth(view: View) -> Shown:
    """Show the aggregate beside the projection's row.

    The projection is read first, so the journal's position is never below the projection's.
    """
    account = view.resource.removesuffix("/truth")
    listed = await view.api.look(account, consistency="eventual")
    if listed.is_refusal and listed.status != 404 and listed.content["code"] != "projection_behind":
        raise Refused(listed)
    truth = await view.api.get(account)
    may_not = view.why_not("GET", "/v1/projections/{name}")
    lag = (
        None
        if may_not
        else await view.api.look(f"/projections/{PROJECTION}", installation=truth.installation)
    )
    row = None if listed.is_refusal else listed.content
    members = compared(truth.content, row) if row is not None else []
    return Shown(
        f"Truth beside the list: {view.names['address']}",
        _sentence(truth.content, truth.position or 0, listed.position, members if row is not None else None),
        {
            "account": truth.content,
            "row": row,
            "refused": listed.content if row is None else None,
            "journal_position": truth.position,
            "projection_position": listed.position,
            "behind": None if listed.position is None else (truth.position or 0) - listed.position,
            "members": members,
            "projection": None if lag is None or lag.is_refusal else lag.content,
            "why_no_lag": may_not,
        },
        truth.position,
    )


def compared(journal: Mapping[str, Any], projection: Mapping[str, Any]) -> list[Member]:
    """Compare an account in the journal with its row in the projection, member by member."""
    members = []
    for name in MEMBERS:
        one, other = _member(journal, name), _member(projection, name)
        members.append(Member(name, one, other, one - other if name in AMOUNTS else None))
    return members


def _member(account: Mapping[str, Any], name: str) -> Any:
    first, _, rest = name.partition(".")
    return account[first][rest] if rest else account[first]


def _sentence(
    account: Mapping[str, Any], journal: int, projection: int | None, members: list[Member] | None
) -> str:
    """Say whether the list shows the account as the journal has it. `members` are None if the list has no row of it."""
    is_passed = projection is not None and projection >= account["position"]
    if members is None:
        return "The list does not show this account yet. The journal has it."
    at = f"The journal is at position {grouped(journal)}, the list at {grouped(projection or 0)}"
    if all(member.is_same for member in members):
        return f"{at}: for this account they say the same."
    if is_passed:
        return (
            f"{at}. It has passed the account's last change and does not show it: the account is held behind a dead"
            " letter, or the list is wrong."
        )
    return f"{at}: the list does not show the account's last change yet."
