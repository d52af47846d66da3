"""The difference between two moments: what was posted between them, in all and for each account."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from api.console.inside import Refused
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
    # A position says what was recorded until then. So a time beside it is read by what was recorded as well.
    by = None if any("at_position" in each.asked for each in (first, second) if each) else clock
    listed = await view.api.get(
        f"/ledgers/{view.ledger}/accounts", **view.asked("cursor", "prefix"), page_size=PAGE_SIZE
    )
    accounts = listed.content["data"]
    readings, totals = await asyncio.gather(
        asyncio.gather(*(_read(view, account, each, by) for account in accounts for each in (first, second))),
        _totals(view, first, second, by),
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


async def _read(
    view: View, account: Mapping[str, Any], moment: Moment | None, clock: str | None
) -> int | None:
    """Read a balance by a clock, or by what was recorded if the clock is None. None if the account was not open."""
    path = f"/ledgers/{view.ledger}/accounts/{account['address']}"
    if clock is None:
        reply = await view.api.look(path, **(moment.asked if moment else {}))
    else:
        reply = await view.api.look(f"{path}/balance", at=moment.at if moment else None, clock=clock)
    if reply.is_refusal and reply.status != 404:
        raise Refused(reply)
    balance: int | None = None if reply.is_refusal else reply.content["balance"]
    return balance


async def _totals(
    view: View, first: Moment | None, second: Moment | None, clock: str | None
) -> list[Difference] | None:
    """Return the sums posted in each asset. None without a clock: the API tells them by time only."""
    if clock is None:
        return None
    replies = await asyncio.gather(
        *(
            view.api.get(f"/ledgers/{view.ledger}/trial-balance", at=each.at if each else None, clock=clock)
            for each in (first, second)
        )
    )
    before, after = ({row["asset"]: int(row["debits"]) for row in reply.content["data"]} for reply in replies)
    assets = sorted({*before, *after})
    return [Difference(asset, asset, before.get(asset, 0), after.get(asset, 0)) for asset in assets]
