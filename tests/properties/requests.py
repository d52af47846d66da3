"""Requests to a ledger in plain values, with the words of api/README.md, and the command each becomes.

A transaction is named by the key of the request that made it. Times count microseconds from a fixed beginning.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgspec import convert

from domain.commit.decider import Result
from domain.model.accounts import AccountOpened, ChangeAccount, ChangeStatus, OpenAccount
from domain.model.commands import Command, Outcome
from domain.model.entries import Entry
from domain.model.events import Context
from domain.model.holds import ExpireHold, SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.ledgers import OpenLedger
from domain.model.postings import AcceptTransaction, CompleteTransaction, PostTransaction
from domain.model.reversals import ReverseTransaction
from domain.model.times import Instant
from domain.model.transactions import Acceptance, Description

Leg = tuple[str, str, int]
"""A requested entry: address, direction, amount."""


@dataclass(frozen=True)
class OpenBook:
    book: str
    notes: dict[str, str]


@dataclass(frozen=True)
class Open:
    book: str
    address: str
    asset: str
    side: str
    floor: int | None
    ceiling: int | None
    notes: dict[str, str]


@dataclass(frozen=True)
class Change:
    """Change those of `floor`, `ceiling` and `notes` that are in `changes`."""

    book: str
    address: str
    changes: dict[str, Any]
    version: int | None = None


@dataclass(frozen=True)
class SetStatus:
    book: str
    address: str
    status: str
    version: int | None = None


@dataclass(frozen=True)
class Post:
    """A posting or a hold. `later`: accepted at once and completed by a worker."""

    book: str
    key: str
    legs: tuple[Leg, ...]
    pending: bool = False
    expires: int | None = None
    effective: int | None = None
    reference: str = ""
    later: bool = False


@dataclass(frozen=True)
class Settle:
    book: str
    key: str
    named: str
    amount: int | None = None
    legs: tuple[Leg, ...] | None = None


@dataclass(frozen=True)
class Void:
    book: str
    key: str
    named: str


@dataclass(frozen=True)
class Reverse:
    book: str
    key: str
    named: str
    amount: int | None = None
    effective: int | None = None


@dataclass(frozen=True)
class Complete:
    """The worker's completion of an accepted request."""

    request: Post

    @property
    def book(self) -> str:
        return self.request.book


@dataclass(frozen=True)
class Expire:
    """The worker's expiry of a hold that is over by its clock."""

    book: str
    named: str


Keyed = Post | Settle | Void | Reverse
Request = OpenBook | Open | Change | SetStatus | Keyed | Complete | Expire


def same_request(request: Keyed) -> str:
    """Return what identifies a keyed request: everything except whether the client waits for the outcome."""
    return repr(replace(request, later=False) if isinstance(request, Post) else request)


def at(time: int) -> Instant:
    """The instant this many microseconds after the beginning."""
    return f"2026-11-23T20:00:00.{time:06}Z"


def entries_of(legs: Sequence[Leg]) -> tuple[Entry, ...]:
    return tuple(
        convert({"account": address, "direction": direction, "amount": amount}, Entry)
        for address, direction, amount in legs
    )


class Acceptances:
    """The answers to accepted requests. A request can be completed only with its answer."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Acceptance] = {}

    def note(self, result: Result) -> None:
        """Note an answer that was recorded or replayed."""
        if isinstance(result, Outcome) and isinstance(result.state, Acceptance):
            self._known[result.state.ledger, result.state.idempotency_key] = result.state

    def of(self, request: Complete) -> Acceptance | None:
        return self._known.get((request.book, request.request.key))

    def possible(self, requests: Sequence[Request]) -> list[Request]:
        """Leave out requests that cannot be completed. At least one request always remains."""
        left = [request for request in requests if not isinstance(request, Complete) or self.of(request)]
        return left or [OpenBook("main", {})]


def command_of(request: Request, context: Context, acceptances: Acceptances) -> Command:
    """The command of a request."""
    match request:
        case OpenBook():
            return OpenLedger(context, request.book, request.notes)
        case Open():
            opening = convert(
                {
                    "asset": request.asset,
                    "normal_side": request.side,
                    "min_balance": request.floor,
                    "max_balance": request.ceiling,
                    "metadata": request.notes,
                },
                AccountOpened,
            )
            return OpenAccount(context, request.book, request.address, opening)
        case Change():
            names = {"floor": "min_balance", "ceiling": "max_balance", "notes": "metadata"}
            changes = {names[name]: value for name, value in request.changes.items()}
            return ChangeAccount(
                context, request.book, request.address, if_version=request.version, **changes
            )
        case SetStatus():
            status: Any = request.status
            return ChangeStatus(context, request.book, request.address, status, "a reason", request.version)
        case Complete():
            accepted = acceptances.of(request)
            assert accepted is not None
            return CompleteTransaction(accepted)
        case Expire():
            return ExpireHold(context, request.book, operation_id(request.book, request.named))
    return _keyed_command(request, context)


def _keyed_command(request: Keyed, context: Context) -> Command:
    operation = Operation(request.key, operation_id(request.book, request.key), same_request(request))
    if isinstance(request, Post):
        kind = AcceptTransaction if request.later else PostTransaction
        return kind(
            context,
            request.book,
            operation,
            Description(reference=request.reference),
            entries_of(request.legs),
            None if request.effective is None else at(request.effective),
            request.pending,
            None if request.expires is None else at(request.expires),
        )
    named = operation_id(request.book, request.named)
    common = (context, request.book, operation, Description(), named)
    match request:
        case Settle():
            parts = None if request.legs is None else entries_of(request.legs)
            return SettleHold(*common, request.amount, parts)
        case Void():
            return VoidHold(*common)
        case Reverse():
            effective = None if request.effective is None else at(request.effective)
            return ReverseTransaction(*common, request.amount, effective)
