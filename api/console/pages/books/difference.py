"""The difference between two moments: what was posted between them, in all and for each account."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from api.console.inside import Reply
from api.console.pages.books.moments import Moment, moment_of
from api.console.view import Shown, View, page
from domain.model.times import instant

PAGE_SIZE = 10


class Difference(NamedTuple):
    """What changed between two moments, in minor units. An account that was not open yet has None."""

    name: str
    asset: str
    first: int | None
    second: int | None

    @property
    def change(self) -> int:
        """How much more it is at the second moment."""
        return (self.second or 0) - (self.first or 0)


@page("/console/ledgers/{ledger}/balances/difference", template="difference.html")
async def show_difference(view: View) -> Shown:
    """Show the balances of accounts at two moments, and the totals of the ledger at two times."""
    first, second = moment_named(view.query.get("first", "")), moment_named(view.query.get("second", ""))
    clock = "recorded" if view.query.get("clock") == "recorded" else "effective"
    listed = await view.api.get(
        f"/ledgers/{view.ledger}/accounts", **view.asked("cursor", "prefix"), page_size=PAGE_SIZE
    )
    accounts = listed.content["data"]
    readings, totals = await asyncio.gather(
        asyncio.gather(
            *(_read(view, account, each, clock) for account in accounts for each in (first, second))
        ),
        _totals(view, first, second, clock),
    )
    rows = [
        Difference(account["address"], account["asset"], before, after)
        for account, before, after in zip(accounts, readings[::2], readings[1::2], strict=True)
    ]
    words = [each.words if each else "now" for each in (first, second)]
    return Shown(
        f"Difference between two moments of {view.ledger}",
        f"This is what changed from {words[0].removeprefix('at ')} to {words[1].removeprefix('at ')}.",
        {
            "rows": rows,
            "totals": totals,
            "words": words,
            "clock": clock,
            "next_cursor": listed.content["next_cursor"],
            "head": listed.head,
        },
        listed.position,
    )


def moment_named(text: str) -> Moment | None:
    """Return the moment of a field that takes a position, a day or a time. None is the present."""
    name = "at_position" if text.isdecimal() else "at"
    return moment_of({name: text}, instant(datetime.now(UTC)))


async def _read(view: View, account: Mapping[str, Any], moment: Moment | None, clock: str) -> int | None:
    path = f"/ledgers/{view.ledger}/accounts/{account['address']}"
    if moment is None or moment.at is None:
        return _balance(await view.api.look(path, **(moment.asked if moment else {})))
    return _balance(await view.api.look(f"{path}/balance", at=moment.at, clock=clock))


def _balance(reply: Reply) -> int | None:
    found: int | None = None if reply.is_refusal else reply.content["balance"]
    return found


async def _totals(
    view: View, first: Moment | None, second: Moment | None, clock: str
) -> list[Difference] | None:
    """Return the sums posted in each asset. None if a position was named: the API tells them by time only."""
    if any(moment is not None and moment.at is None for moment in (first, second)):
        return None
    replies = await asyncio.gather(
        *(
            view.api.get(f"/ledgers/{view.ledger}/trial-balance", at=each.at if each else None, clock=clock)
            for each in (first, second)
        )
    )
    before, after = ({row["asset"]: int(row["debits"]) for row in reply.content["data"]} for reply in replies)
    return [
        Difference(asset, asset, before.get(asset), after.get(asset)) for asset in sorted({*before, *after})
    ]
