"""A transaction: what it moved, each account before and after it, where it comes from, and its proof."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import api.console.pages.books.transaction_actions  # noqa: F401  (lists the actions)
from api.console.assets import with_assets
from api.console.inside import Reply
from api.console.pages.books.descent import line_of_descent
from api.console.view import Shown, View, page
from projections.diagnosis.glossary import term

MOST_ACCOUNTS = 10
"""How many accounts are shown before and after."""

MOST_ENTRIES = 100
PROOF = "/v1/audit/proofs/inclusion"

_MADE_BY = {
    "posting": "transaction.posted",
    "hold": "transaction.held",
    "settlement": "transaction.settlement_posted",
    "void": "transaction.void_recorded",
    "reversal": "transaction.reversal_posted",
}


class Sides(NamedTuple):
    """An account before and after a transaction; None where it was not open."""

    address: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@page("/console/ledgers/{ledger}/transactions/{id}")
async def show_transaction(view: View) -> Shown:
    """Show a transaction."""
    read = await view.api.get(view.resource)
    transaction = read.content
    made, begins = await _events(view, transaction)
    sides, descent, entries, proof, payout = await asyncio.gather(
        _before_and_after(view, transaction, made, begins),
        line_of_descent(view, transaction),
        with_assets(view.api, view.ledger, transaction["entries"][:MOST_ENTRIES]),
        _proof(view, made, read.installation),
        _payout(view, transaction),
    )
    return Shown(
        f"{transaction['kind'].capitalize()} {transaction['reference'] or transaction['id']}",
        _sentence(transaction),
        {
            "transaction": transaction,
            "entries": entries,
            "made": made,
            "sides": sides,
            "descent": descent,
            "proof": proof,
            "log": read.installation,
            "payout": payout,
            "why_no_proof": view.why_not("GET", PROOF),
        },
        read.position,
    )


def _sentence(transaction: Mapping[str, Any]) -> str:
    of = term("transaction", transaction["status"])
    refusal = transaction["rejection"]
    return f"This {transaction['kind']} is {of.words}. {of.meaning}" + (
        f" {refusal['detail']}" if refusal else ""
    )


async def _events(view: View, transaction: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, int]:
    """Return the event that recorded a transaction, and the position at which its command began."""
    is_rejected = transaction["status"] == "rejected"
    topic = "transaction.rejected" if is_rejected else _MADE_BY[transaction["kind"]]
    path, about = f"/ledgers/{view.ledger}/events", {"transaction_id": transaction["id"]}
    own, first = await asyncio.gather(
        view.api.get(path, **about, type=topic, page_size=1), view.api.get(path, **about, page_size=2)
    )
    if not own.content["data"]:
        return None, 0
    made = own.content["data"][0]
    # A request that was accepted for later has an earlier event of its own.
    positions = [
        event["position"] for event in first.content["data"] if event["type"] != "transaction.accepted"
    ]
    return made, min([*positions, made["position"]])


async def _before_and_after(
    view: View, transaction: Mapping[str, Any], made: Mapping[str, Any] | None, begins: int
) -> list[Sides]:
    if made is None or transaction["status"] == "rejected":
        return []
    addresses = list(dict.fromkeys(entry["account"] for entry in transaction["entries"]))[:MOST_ACCOUNTS]
    positions = [begins - 1, made["position"]]
    replies = await asyncio.gather(
        *(
            view.api.look(f"/ledgers/{view.ledger}/accounts/{address}", at_position=position)
            for address in addresses
            for position in positions
        )
    )
    return [
        Sides(address, _account(before), _account(after))
        for address, before, after in zip(addresses, replies[::2], replies[1::2], strict=True)
    ]


def _account(reply: Reply) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = None if reply.is_refusal else reply.content
    return found


async def _payout(view: View, transaction: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the payout whose amount a hold reserves, None if it is not the hold of one."""
    if transaction["kind"] != "hold":
        return None
    reply = await view.api.look(f"/ledgers/{view.ledger}/payouts/{transaction['id']}")
    found: Mapping[str, Any] | None = None if reply.is_refusal else reply.content
    return found


async def _proof(
    view: View, made: Mapping[str, Any] | None, installation: str | None
) -> Mapping[str, Any] | None:
    """Return the proof that the event is in the newest checkpoint of its installation, None if there is none yet."""
    if made is None or view.why_not("GET", PROOF) is not None:
        return None
    on = {"installation": installation}
    newest = await view.api.look("/audit/checkpoints", order="desc", page_size=1, **on)
    sizes = [] if newest.is_refusal else [checkpoint["size"] for checkpoint in newest.content["data"]]
    if max(sizes, default=0) < made["position"]:
        return None
    reply = await view.api.look("/audit/proofs/inclusion", position=made["position"], size=sizes[0], **on)
    proof: Mapping[str, Any] | None = None if reply.is_refusal else reply.content
    return proof
