"""Webhooks follow a ledger that moves: those that are told of it at the old place are registered at the new one.

Each place delivers what was recorded there. So whoever was told of the ledger is told of what comes after the move by a
webhook of the new place, with the same URL, secrets and types, and for this ledger alone.
"""

from collections.abc import Sequence
from datetime import datetime
from time import monotonic, sleep
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from psycopg import Connection

from domain.journal.queries import load

TOLD_SECONDS = 1.0
"""For how long a ledger that has left does not arrive because the old place's events of it are not told yet."""

LOOK_SECONDS = 0.02

_SQL = load(__name__)


class Successor(NamedTuple):
    """A webhook at the new place that goes on with one of the old place, and whether it was made for that."""

    id: UUID
    url: str
    is_new: bool


class _Subscription(NamedTuple):
    """A webhook of the old place, as far as it goes to the new one.

    `line` is the id of the first webhook of those that go on with one another. `known_secrets` has those that have
    ended too.
    """

    id: UUID
    url: str
    types: list[str]
    description: str
    created_by: str
    state: str
    disabled_reason: str | None
    line: UUID
    known_secrets: list[str]


class _Secret(NamedTuple):
    """A secret of a webhook that is valid."""

    secret: str
    created_at: datetime
    valid_until: datetime | None


def follow(old: Connection[Any], new: Connection[Any], ledger: str) -> Sequence[Successor]:
    """Have every webhook that is told of a ledger at the old place go on at the new one. Idempotent.

    If a webhook with the same URL is told of the ledger and of these types there, it goes on, and signs with the
    secrets of both. First of these is the one that came from it or that it came from, at whichever move: it stays
    disabled if its owner disabled it. Another that is disabled goes on for a disabled one alone. Needs connections that
    are in no transaction.
    """
    subscriptions = _subscriptions(old, ledger)
    with new.transaction():
        _SQL["lock"].run(new)
        return [_successor(new, ledger, *told) for told in subscriptions]


def await_told(old: Connection[Any], ledger: str) -> bool:
    """Wait until the old place has told of all that it recorded of a ledger, for `TOLD_SECONDS` at most.

    Then nobody is told of later events first. Return whether it has. Not waited for is who cannot be told now:
    receivers that fail or are disabled, and a broker that does not answer.
    """
    give_up_at = monotonic() + TOLD_SECONDS
    head = _SQL["head"].only(old)[0]
    while not _SQL["told"].only(old, {"ledger": ledger, "head": head})[0]:
        if monotonic() >= give_up_at:
            return False
        sleep(LOOK_SECONDS)
    return True


def _subscriptions(old: Connection[Any], ledger: str) -> list[tuple[_Subscription, list[_Secret]]]:
    """Return what the old place's webhooks ask for that are told of a ledger, each with its secrets."""
    found = _SQL["subscriptions"].rows(old, {"ledger": ledger}, into=_Subscription)
    return [(one, _SQL["secrets"].rows(old, {"id": one.id}, into=_Secret)) for one in found]


def _successor(
    new: Connection[Any], ledger: str, told: _Subscription, secrets: Sequence[_Secret]
) -> Successor:
    """Return the webhook of the new place that goes on with one of the old place, made if there is none."""
    wanted = {**told._asdict(), "ledger": ledger}
    there = _SQL["there"].row(new, wanted)
    id = uuid4() if there is None else there[0]
    if there is None:
        _SQL["add"].run(new, {**wanted, "id": id})
    _SQL["note_line"].run(new, {"id": id, "line": told.line})
    for secret in secrets:
        _SQL["add_secret"].run(new, {"id": id, **secret._asdict()})
    return Successor(id, told.url, there is None)
