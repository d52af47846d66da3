"""Turns requests about transactions into commands, for single requests and for batches."""

from collections.abc import Sequence
from typing import Any

from api.resources.transactions.schemas import (
    DescribedRequest,
    EntryRequest,
    ReverseRequest,
    SettleRequest,
    TransactionRequest,
    VoidRequest,
)
from api.resources.transactions.usual_bodies import UsualEntry, UsualItem, UsualTransaction
from domain.model.commands import Command
from domain.model.entries import Entry
from domain.model.events import Context
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, fingerprint, operation_id
from domain.model.postings import AcceptTransaction, PostTransaction
from domain.model.reversals import ReverseTransaction
from domain.model.transactions import Description


def operation_of(ledger: str, key: str, path: str, sent: Any) -> Operation:
    """Return the operation of a request. For an item of a batch, `path` is the path of its single form."""
    return Operation(key, operation_id(ledger, key), fingerprint("POST", path, sent))


def post(
    context: Context,
    ledger: str,
    operation: Operation,
    body: TransactionRequest | UsualTransaction | UsualItem,
    *,
    respond_async: bool = False,
) -> PostTransaction:
    """Return the command that posts a transaction or makes a hold, or accepts to do so later."""
    command = AcceptTransaction if respond_async else PostTransaction
    return command(
        context,
        ledger,
        operation,
        description_of(body),
        entries=entries_of(body.entries),
        effective_at=body.effective_at,
        pending=body.pending,
        expires_at=body.expires_at,
    )


def on_transaction(
    context: Context,
    ledger: str,
    operation: Operation,
    named_id: str,
    body: SettleRequest | VoidRequest | ReverseRequest,
) -> Command:
    """Return the command that settles, voids or reverses the transaction `named_id`."""
    keyed = (context, ledger, operation, description_of(body), named_id)
    match body:
        case SettleRequest(amount=amount, entries=entries):
            parts = None if entries is None else entries_of(entries)
            return SettleHold(*keyed, amount=amount, entries=parts)
        case ReverseRequest(amount=amount, effective_at=effective_at):
            return ReverseTransaction(*keyed, amount=amount, effective_at=effective_at)
    return VoidHold(*keyed)


def entries_of(asked: Sequence[EntryRequest | UsualEntry]) -> tuple[Entry, ...]:
    """Return the entries of a request."""
    return tuple([Entry(entry.account, entry.direction, entry.amount) for entry in asked])


def description_of(body: DescribedRequest | UsualTransaction | UsualItem) -> Description:
    """Return the description of a transaction that a request gives."""
    return Description(body.reference, body.description, body.metadata)
