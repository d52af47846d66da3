"""The assets of entries. The API's entries name accounts; an account has one asset for ever."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api.console.inside import Inside

MAX_ACCOUNTS = 40
"""Of how many accounts a page looks up the asset. Entries of further ones are shown in minor units."""


async def assets_of(api: Inside, ledger: str, addresses: Iterable[str]) -> dict[str, str]:
    """Return the asset of each account that the caller may read, by address."""
    wanted = list(dict.fromkeys(addresses))[:MAX_ACCOUNTS]
    replies = await asyncio.gather(*(api.look(f"/ledgers/{ledger}/accounts/{address}") for address in wanted))
    return {reply.content["address"]: reply.content["asset"] for reply in replies if not reply.is_refusal}


async def with_assets(api: Inside, ledger: str, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return entries, each with the asset of its account; None where it is not known."""
    # The ledger is read after its entries were, so it has their assets. Where it has one, no account is asked.
    answer = await api.look(f"/ledgers/{ledger}")
    known: Sequence[str] = [] if answer.is_refusal else answer.content["assets"]
    if len(known) == 1:
        return [{**entry, "asset": known[0]} for entry in entries]
    assets = await assets_of(api, ledger, (entry["account"] for entry in entries))
    return [{**entry, "asset": assets.get(entry["account"])} for entry in entries]
