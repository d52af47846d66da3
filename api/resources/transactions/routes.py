"""Transactions: post one or make a hold; settle, void, reverse and show one."""

from typing import Any

from api.http import examples
from api.http.body import ENTRIES_BODY_BYTES, MAX_BODY_BYTES
from api.http.consistency import Consistency
from api.http.declaration import POSTER, READER, Declaration, NoQuery, Returns
from api.http.endpoint import Call, Endpoint
from api.http.responses import POSITION, Answer, etag, is_unchanged, json_answer
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
from domain.model.commands import Command
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

Body = SettleRequest | VoidRequest | ReverseRequest


async def post_transaction(call: Call[TransactionQuery, TransactionRequest]) -> Answer:
    """Post a transaction, or make a hold. In each asset, debits must equal credits. All entries are recorded, or none.

    A refusal by a business rule is recorded too: the same request gets it for ever. With `Prefer: respond-async` the
    request is accepted durably, answered 202, and carried out by a worker.
    """
    respond_async = call.prefer.respond_async and not call.query.dry_run
    command = post(call.context, call.ledger, _operation(call), call.body, respond_async=respond_async)
    return await _perform(call, command)


async def settle_hold(call: Call[TransactionQuery, SettleRequest]) -> Answer:
    """Post all or part of a hold, once. The rest is released. Limits are not checked again."""
    return await _perform_on_transaction(call)


async def void_hold(call: Call[TransactionQuery, VoidRequest]) -> Answer:
    """Release a hold."""
    return await _perform_on_transaction(call)


async def reverse_transaction(call: Call[TransactionQuery, ReverseRequest]) -> Answer:
    """Post the mirror image of a posting or settlement: all that is not reversed yet, or a part. Limits apply."""
    return await _perform_on_transaction(call)


async def get_transaction(call: Call[NoQuery, None]) -> Answer:
    """Show one transaction, even a rejected one. It is read from the journal, so every write acknowledged before is
    seen."""
    ledger = call.service.ledger
    transaction, head = await call.service.read(ledger.transaction, call.ledger, call.path_params["id"])
    headers = {POSITION: str(head), "ETag": etag(transaction.version)}
    known = call.headers.get(b"if-none-match")
    if known is not None and is_unchanged(known.decode("latin-1"), transaction.version):
        return Answer(304, headers=headers)
    return json_answer(200, transaction_body(transaction), headers)


async def _perform_on_transaction(call: Call[TransactionQuery, Any]) -> Answer:
    command = on_transaction(call.context, call.ledger, _operation(call), call.path_params["id"], call.body)
    return await _perform(call, command)


async def _perform(call: Call[TransactionQuery, Any], command: Command) -> Answer:
    writer = call.service.writer
    if call.query.dry_run:
        return answer(await writer.try_out(command))
    return answer(await writer.perform(command))


def _operation(call: Call[Any, Any]) -> Operation:
    return operation_of(call.ledger, call.key, call.path, call.raw_body)


_MADE = ("ETag", "Location", "Idempotent-Replayed")
_RULES_OF_ACCOUNTS: tuple[type[LedgerError], ...] = (
    AmountOverflow,
    InsufficientFunds,
    BalanceLimitExceeded,
)


def _on_transaction(
    verb: str,
    operation_id: str,
    summary: str,
    body: type[Body],
    example: Any,
    request_example: Any,
    problems: tuple[type[LedgerError], ...],
) -> Declaration:
    return Declaration(
        "POST",
        f"/v1/ledgers/{{ledger}}/transactions/{{id}}/{verb}",
        operation_id,
        "Transactions",
        summary,
        Consistency.LINEARIZABLE,
        POSTER,
        (Returns(201, "The new transaction.", TransactionBody, example, _MADE),),
        query=TransactionQuery,
        body=body,
        body_example=request_example,
        is_body_optional=True,
        max_body_bytes=ENTRIES_BODY_BYTES if "entries" in body.model_fields else MAX_BODY_BYTES,
        is_keyed=True,
        problems=(TransactionNotFound, *problems),
    )


_ACCEPTED = Returns(
    202,
    "The request is accepted, but not carried out yet.",
    OperationBody,
    examples.ACCEPTED_OPERATION,
    ("Location", "Retry-After", "Preference-Applied", "Idempotent-Replayed"),
)

ENDPOINTS = [
    Endpoint(
        Declaration(
            "POST",
            "/v1/ledgers/{ledger}/transactions",
            "post_transaction",
            "Transactions",
            "Post a transaction or make a hold",
            Consistency.LINEARIZABLE,
            POSTER,
            (Returns(201, "The transaction.", TransactionBody, examples.TRANSACTION, _MADE), _ACCEPTED),
            query=TransactionQuery,
            body=TransactionRequest,
            body_example=examples.TRANSACTION_REQUEST,
            max_body_bytes=ENTRIES_BODY_BYTES,
            is_keyed=True,
            is_deferrable=True,
            problems=(
                AccountNotFound,
                UnbalancedTransaction,
                HoldExpired,
                AccountClosed,
                AccountFrozen,
                *_RULES_OF_ACCOUNTS,
            ),
        ),
        post_transaction,
    ),
    Endpoint(
        Declaration(
            "GET",
            "/v1/ledgers/{ledger}/transactions/{id}",
            "get_transaction",
            "Transactions",
            "Show a transaction",
            Consistency.LINEARIZABLE,
            READER,
            (
                Returns(200, "The transaction.", TransactionBody, examples.TRANSACTION, ("ETag",)),
                Returns(304, "The transaction is unchanged: If-None-Match has its ETag.", headers=("ETag",)),
            ),
            problems=(TransactionNotFound,),
        ),
        get_transaction,
    ),
    Endpoint(
        _on_transaction(
            "settle",
            "settle_hold",
            "Settle a hold",
            SettleRequest,
            examples.SETTLEMENT,
            {"amount": 1050},
            (
                UnbalancedTransaction,
                HoldExpired,
                HoldNotPending,
                HoldReserved,
                AccountFrozen,
                AccountClosed,
                AmountExceedsHold,
            ),
        ),
        settle_hold,
    ),
    Endpoint(
        _on_transaction(
            "void",
            "void_hold",
            "Void a hold",
            VoidRequest,
            examples.VOID,
            {},
            (HoldExpired, HoldNotPending, HoldReserved),
        ),
        void_hold,
    ),
    Endpoint(
        _on_transaction(
            "reverse",
            "reverse_transaction",
            "Reverse a transaction",
            ReverseRequest,
            examples.REVERSAL,
            {},
            (NotReversible, AccountClosed, AccountFrozen, AmountExceedsReversible, *_RULES_OF_ACCOUNTS),
        ),
        reverse_transaction,
    ),
]
