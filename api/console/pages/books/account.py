"""An account: its two sides, its limits, its statement, its balance over time, and how it stood at any moment."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import api.console.pages.books.account_actions  # noqa: F401  (lists the actions)
from api.console.actions.fields import NO_LIMIT
from api.console.drawings import limits_bar
from api.console.formats import NARROW_SPACE, code_of, figure
from api.console.inside import Refused, Reply
from api.console.pages.books.changes import LIMITS, TYPES, Change, changes_of
from api.console.pages.books.history import history_of
from api.console.pages.books.moments import Moment, bounds_of, moment_of
from api.console.view import Shown, View, page
from domain.model.times import instant
from projections.diagnosis.glossary import term

PAGE_SIZE = 50
MOST_IN_ADDRESS = 2_000
CHANGES = 8
"""How many changes are shown."""


@page("/console/ledgers/{ledger}/accounts/{address}")
async def show_account(view: View) -> Shown:
    """Show an account, now or as it stood at a moment."""
    now = instant(datetime.now(UTC))
    past = moment_of(view.query, now)
    account, then, effective, entries, *changes = await asyncio.gather(
        view.api.get(view.resource),
        _then(view, past),
        _effective(view, past),
        view.api.look(f"{view.resource}/entries", **_statement_query(view)),
        *(_changes(view, name) for name in TYPES),
    )
    stood = then or account
    present, shown = account.content, None if stood.is_refusal else stood.content
    return Shown(
        view.names["address"],
        _sentence(present, shown, past) + _by_effect(present, effective),
        {
            "present": present,
            "account": shown,
            "past": past,
            "head": account.head,
            "bar": limits_bar.drawn(shown) if shown else None,
            "clock": _clock(view),
            "entries": entries,
            "history": await history_of(view, present, entries, _clock(view), past, now),
            "changes": _told(changes, present["asset"]),
            "given": _given(present),
        },
        stood.position,
    )


def _clock(view: View) -> str:
    return "effective" if view.query.get("clock") == "effective" else "recorded"


def _statement_query(view: View) -> dict[str, Any]:
    """Return the parameters of the statement, newest entries first."""
    asked = {**view.asked("cursor"), **bounds_of(view.query)}
    return {**asked, "clock": _clock(view), "order": "desc", "page_size": PAGE_SIZE}


async def _then(view: View, past: Moment | None) -> Reply | None:
    """Return the account as it stood at a moment; a reply with status 404 if it was not open. None for the present."""
    if past is None:
        return None
    reply = await view.api.look(view.resource, **past.asked)
    if reply.is_refusal and reply.status != 404:
        raise Refused(reply)
    return reply


async def _effective(view: View, past: Moment | None) -> Mapping[str, Any] | None:
    """Return the balance at a time by the effective clock, None if none was asked for or it is not there yet."""
    if past is None or past.at is None:
        return None
    reply = await view.api.look(f"{view.resource}/balance", at=past.at, clock="effective")
    found: Mapping[str, Any] | None = None if reply.is_refusal else reply.content
    return found


async def _changes(view: View, name: str) -> Reply:
    query = {"account": view.names["address"], "type": name, "order": "desc", "page_size": CHANGES}
    return await view.api.look(f"/ledgers/{view.ledger}/events", **query)


def _told(replies: Sequence[Reply], asset: str) -> list[Change]:
    lists = [reply.content for reply in replies if not reply.is_refusal]
    events = [event for each in lists for event in each["data"]]
    is_whole = all(each["next_cursor"] is None for each in lists)
    return changes_of(events, asset, is_whole=is_whole)[:CHANGES]


def _given(account: Mapping[str, Any]) -> dict[str, str]:
    """Return what the form of a change holds at first: everything as it is.

    Metadata that is too long for an address is left out. An empty field changes nothing.
    """
    limits = {name: NO_LIMIT if account[name] is None else str(account[name]) for name in LIMITS}
    metadata = json.dumps(account["metadata"], ensure_ascii=False)
    return {**limits, "metadata": metadata if len(metadata) <= MOST_IN_ADDRESS else ""}


def _sentence(present: Mapping[str, Any], shown: Mapping[str, Any] | None, past: Moment | None) -> str:
    """Say how an account is, or was."""
    if shown is None:
        assert past is not None
        return f"The account was not open yet {past.words}."
    status = term("account", shown["status"]).words
    balance, available = (_said(shown[name], present["asset"]) for name in ("balance", "available"))
    is_or_was = "is" if past is None else "was"
    is_part = 0 <= shown["available"] < shown["balance"]
    is_all = shown["available"] == shown["balance"] > 0
    part = "all of it" if is_all else f"{available} of it" if is_part else available
    words = f"account {is_or_was} {status}, with a balance of {balance}, {part} available."
    return f"The {words}" if past is None else f"{past.words[0].upper()}{past.words[1:]}, the {words}"


def _by_effect(present: Mapping[str, Any], effective: Mapping[str, Any] | None) -> str:
    if effective is None:
        return ""
    return f" By the time entries take effect, its balance then was {_said(effective['balance'], present['asset'])}."


def _said(amount: int, asset: str) -> str:
    return f"{figure(amount, asset)}{NARROW_SPACE}{code_of(asset)}"
