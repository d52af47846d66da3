"""The balances of a ledger as a tree of addresses, and the trial balance."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from api.console.formats import grouped
from api.console.pages.books.moments import moment_of
from api.console.view import Shown, View, page
from domain.model.times import instant

PAGE_SIZE = 100
MAX_SEGMENTS = 10


@page("/console/ledgers/{ledger}/balances")
async def show_balances(view: View) -> Shown:
    """Show the sums of the accounts below a node of the tree, one row for each of its branches."""
    prefix, asset = view.query.get("prefix") or None, view.query.get("asset") or None
    node = prefix.rstrip(":") if prefix and prefix.endswith(":") else None
    branches, totals, own = await asyncio.gather(
        view.api.get(
            view.resource,
            **view.asked("cursor", "order"),
            prefix=prefix,
            asset=asset,
            group_by=f"segment:{depth_below(prefix or '')}",
            page_size=PAGE_SIZE,
        ),
        view.api.get(view.resource, prefix=prefix, asset=asset),
        _account(view, node),
    )
    accounts = sum(row["accounts"] for row in totals.content["data"])
    below = f" whose addresses begin with {prefix}" if prefix else ""
    return Shown(
        f"Balances of {view.ledger}",
        f"These are the sums of {grouped(accounts)} account{'' if accounts == 1 else 's'}{below}.",
        {
            **branches.content,
            "totals": totals.content["data"],
            "own": own,
            "nodes": nodes_of(prefix or ""),
            "head": branches.head,
        },
        branches.position,
    )


async def _account(view: View, node: str | None) -> Mapping[str, Any] | None:
    """Return the account whose address is a node of the tree, None if there is none."""
    reply = await view.api.look(f"/ledgers/{view.ledger}/accounts/{node}") if node else None
    found: Mapping[str, Any] | None = None if reply is None or reply.is_refusal else reply.content
    return found


def depth_below(prefix: str) -> int:
    """Return how many segments name a branch below a prefix."""
    return min(prefix.count(":") + 1, MAX_SEGMENTS)


def nodes_of(prefix: str) -> list[tuple[str, str]]:
    """Return the nodes on the way down to a prefix, each with its last segment and its own prefix."""
    segments = [segment for segment in prefix.split(":") if segment]
    ends = [":".join(segments[: number + 1]) for number in range(len(segments))]
    return [(segments[number], f"{end}:") for number, end in enumerate(ends)]


class Line(NamedTuple):
    """A line of the trial balance: a branch, and its balance on the side that it is on. Figures are digits."""

    group: str
    asset: str
    debit: str
    credit: str


@page("/console/ledgers/{ledger}/trial-balance", template="trial_balance.html")
async def show_trial_balance(view: View) -> Shown:
    """Show the trial balance: now with a line for each branch of the tree, at a time with the totals."""
    moment = moment_of({**view.query, "at_position": ""}, instant(datetime.now(UTC)))
    clock = "recorded" if view.query.get("clock") == "recorded" else "effective"
    totals, branches = await asyncio.gather(
        view.api.get(view.resource, at=moment.at if moment else None, clock=clock),
        view.api.get(f"/ledgers/{view.ledger}/balances", group_by="segment:1", page_size=PAGE_SIZE),
    )
    data = totals.content["data"]
    when = moment.words if moment else "now"
    values = {
        "totals": data,
        "when": when,
        "clock": clock,
        "moment": moment,
        "sections": sections_of(branches.content["data"]) if moment is None else [],
        "is_whole": branches.content["next_cursor"] is None,
        "branches_position": branches.position,
        "head": totals.head,
    }
    return Shown(f"Trial balance of {view.ledger}", sentence_of(data, when), values, totals.position)


def sentence_of(totals: Sequence[Mapping[str, str]], when: str) -> str:
    """Say whether debits equal credits."""
    wrong = [row["asset"] for row in totals if row["debits"] != row["credits"]]
    if wrong:
        return f"The books do not balance in {', '.join(wrong)} {when}. Stop, and have the journal verified."
    if not totals:
        return f"Nothing had been posted {when}." if when != "now" else "Nothing has been posted yet."
    return f"The books balance {when}: in each asset, debits equal credits."


def sections_of(branches: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Line], str, str]]:
    """Return for each asset its name, its lines, and the totals of the two sides."""
    sections = []
    for asset in sorted({row["asset"] for row in branches}):
        lines = [_line(row) for row in branches if row["asset"] == asset]
        debit, credit = (
            str(sum(int(getattr(line, side) or 0) for line in lines)) for side in ("debit", "credit")
        )
        sections.append((asset, lines, debit, credit))
    return sections


def _line(row: Mapping[str, Any]) -> Line:
    balance = int(row["balance"])
    debit, credit = (str(-balance), "") if balance < 0 else ("", str(balance))
    return Line(row["group"], row["asset"], debit, credit)
