"""Transactions: post one or make a hold; settle, void, reverse and show one."""

from collections.abc import Awaitable
from functools import partial
from typing import Any

from api.http.body import ENTRIES_BODY_BYTES
from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import POSTER, READER, NoQuery, Returns, unchanged
from api.http.endpoint import endpoint
from api.http.responses import POSITION, Answer, etag, json_answer
from api.resources.transactions import examples
from api.resources.transactions.answers import answer
from api.resources.transactions.commands import on_transaction, operation_of, post
from api.resources.transactions.operation_schemas import OperationBody
from api.resources.transactions.schemas import (
    ReverseRequest,
    SettleRequest,
    TransactionBody,
    TransactionQuery,
    TransactionRequest,
    VoidRequest,
    transaction_body,
)
from api.resources.transactions.usual_bodies import usual_transaction
from domain.model.commands import Command, Outcome
from domain.model.errors import (
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AmountExceedsHold,
    AmountExceedsReversible,
    AmountOverflow,
    BalanceLimitExceeded,
    HoldExpired,
    HoldNotPending,
    HoldReserved,
    InsufficientFunds,
    LedgerError,
    NotReversible,
    TransactionNotFound,
    UnbalancedTransaction,
)
from domain.model.idempotency import Operation

_MADE = ("ETag", "Location", "Idempotent-Replayed")
_ACCEPTED = Returns(
    202,
    "The request is accepted, but not carried out yet.",
    OperationBody,
    examples.ACCEPTED_OPERATION,
    headers=("Location", "Retry-After", "Preference-Applied", "Idempotent-Replayed"),
)
_RULES_OF_ACCOUNTS: tuple[type[LedgerError], ...] = (AmountOverflow, InsufficientFunds, BalanceLimitExceeded)
_on_transaction = partial(
    endpoint,
    "POST",
    tag="Transactions",
    consistency=Consistency.LINEARIZABLE,
    roles=POSTER,
    is_body_optional=True,
    is_keyed=True,
)


@endpoint(
    "POST",
    "/v1/ledgers/{ledger}/transactions",
    summary="Post a transaction or make a hold",
    tag="Transactions",
    consistency=Consistency.LINEARIZABLE,
    roles=POSTER,
    returns=[
        Returns(201, "The transaction.", TransactionBody, examples.TRANSACTION, headers=_MADE),
        _ACCEPTED,
    ],
    problems=[
        AccountNotFound,
        UnbalancedTransaction,
        HoldExpired,
        AccountClosed,
        AccountFrozen,
        *_RULES_OF_ACCOUNTS,
    ],
    body_example=examples.TRANSACTION_REQUEST,
    max_body_bytes=ENTRIES_BODY_BYTES,
    usual_body=usual_transaction,
    is_keyed=True,
    is_deferrable=True,
)
async def post_transaction(call: Call[TransactionQuery, TransactionRequest]) -> Answer:
    """Post a transaction, or make a hold. In each asset, debits must equal credits. All entries are recorded, or none.

    A refusal by a business rule is recorded too: the same request gets it for ever. With `Prefer: respond-async` the
    request is accepted durably, answered 202, and carried out by a worker.
    """
    respond_async = call.prefer.respond_async and not call.query.dry_run
    command = post(call.context, call.ledger, _operation(call), call.body, respond_async=respond_async)
    return answer(await _outcome(call, command))


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/transactions/{id}",
    summary="Show a transaction",
    tag="Transactions",
    consistency=Consistency.LINEARIZABLE,
    roles=READER,
    returns=[
        Returns(200, "The transaction.", TransactionBody, examples.TRANSACTION, headers=("ETag",)),
        unchanged("transaction"),
    ],
    problems=[TransactionNotFound],
)
async def get_transaction(call: Call[NoQuery, None]) -> Answer:
    """Show one transaction, even a rejected one. It is read from the journal, so every write acknowledged before is
    seen."""
    ledger = call.service.ledger
    transaction, head = await call.service.read(ledger.transaction, call.ledger, call.path_params["id"])
    headers = {POSITION: str(head), "ETag": etag(transaction.version)}
    return json_answer(200, transaction_body(transaction), headers)


@_on_transaction(
    "/v1/ledgers/{ledger}/transactions/{id}/settle",
    summary="Settle a hold",
    returns=[Returns(201, "The new transaction.", TransactionBody, examples.SETTLEMENT, headers=_MADE)],
    problems=[
        TransactionNotFound,
        UnbalancedTransaction,
        HoldExpired,
        HoldNotPending,
        HoldReserved,
        AccountFrozen,
        AccountClosed,
        AmountExceedsHold,
    ],
    body_example={"amount": 1050},
    max_body_bytes=ENTRIES_BODY_BYTES,
)
async def settle_hold(call: Call[TransactionQuery, SettleRequest]) -> Answer:
    """Post all or part of a hold, once. The rest is released. Limits are not checked again."""
    return await _perform_on_transaction(call)


@_on_transaction(
    "/v1/ledgers/{ledger}/transactions/{id}/void",
    summary="Void a hold",
    returns=[Returns(201, "The new transaction.", TransactionBody, examples.VOID, headers=_MADE)],
    problems=[TransactionNotFound, HoldExpired, HoldNotPending, HoldReserved],
    body_example={},
)
async def void_hold(call: Call[TransactionQuery, VoidRequest]) -> Answer:
    """Release a hold."""
    return await _perform_on_transaction(call)


@_on_transaction(
    "/v1/ledgers/{ledger}/transactions/{id}/reverse",
    summary="Reverse a transaction",
    returns=[Returns(201, "The new transaction.", TransactionBody, examples.REVERSAL, headers=_MADE)],
    problems=[
        TransactionNotFound,
        NotReversible,
        AccountClosed,
        AccountFrozen,
        AmountExceedsReversible,
        *_RULES_OF_ACCOUNTS,
    ],
    body_example={},
)
async def reverse_transaction(call: Call[TransactionQuery, ReverseRequest]) -> Answer:
    """Post the mirror image of a posting or settlement: all that is not reversed yet, or a part. Limits apply."""
    return await _perform_on_transaction(call)


async def _perform_on_transaction(call: Call[TransactionQuery, Any]) -> Answer:
    command = on_transaction(call.context, call.ledger, _operation(call), call.path_params["id"], call.body)
    return answer(await _outcome(call, command))


def _outcome(call: Call[TransactionQuery, Any], command: Command) -> Awaitable[Outcome]:
    writer = call.service.writer
    return writer.try_out(command) if call.query.dry_run else writer.perform(command)


def _operation(call: Call[Any, Any]) -> Operation:
    return operation_of(call.ledger, call.key, call.path, call.raw_body)
