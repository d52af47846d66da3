"""Entries with the assets of their accounts. The API tells the asset with an account, not with an entry."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from api.console.view import View
from domain.application import LedgerApplication

MOST_READ = 30
"""How many accounts one page reads for their assets. The amounts of further ones are shown in minor units."""

MOST_KEPT = 100_000

_KEPT: WeakKeyDictionary[LedgerApplication, dict[tuple[str, str], str]] = WeakKeyDictionary()
"""The assets read by each application, by ledger and address. An account's asset never changes."""


async def with_assets(view: View, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return entries with their `asset`, None where it is not known. The caller may read their ledger."""
    listed = list(entries)
    kept = _KEPT.setdefault(view.service.ledger, {})
    addresses = dict.fromkeys(entry["account"] for entry in listed)
    lacking = [address for address in addresses if (view.ledger, address) not in kept][:MOST_READ]
    if len(kept) > MOST_KEPT:
        kept.clear()
    replies = await asyncio.gather(
        *(view.api.look(f"/ledgers/{view.ledger}/accounts/{address}") for address in lacking)
    )
    for address, reply in zip(lacking, replies, strict=True):
        if not reply.is_refusal:
            kept[view.ledger, address] = reply.content["asset"]
    return [{**entry, "asset": kept.get((view.ledger, entry["account"]))} for entry in listed]
