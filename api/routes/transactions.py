"""Transactions: post one, look at one."""

from typing import Any

from pydantic_core import to_json

from api import examples
from api.answers import POSITION, REPLAYED, Answer, etag, is_unchanged, json_answer
from api.consistency import Consistency
from api.declaration import CLIENT, READER, Declaration, NoQuery, Returns
from api.endpoint import Asked, Endpoint
from api.problems import MEDIA_TYPE, problem
from api.schemas.transactions import TransactionBody, TransactionRequest, transaction_body
from domain.errors import (
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AmountOverflow,
    BalanceLimitExceeded,
    InsufficientFunds,
    TransactionNotFound,
    UnbalancedTransaction,
)
from domain.operations import Operation, fingerprint, operation_id
from domain.postings import PostTransaction
from domain.transactions import Description, Transaction


async def post_transaction(asked: Asked[NoQuery, TransactionRequest]) -> Answer:
    """Post a transaction: for each asset, debits = credits. Either all of its entries are recorded or none.

    A refusal by a business rule is recorded as well, and is the answer to the same request for ever.
    """
    body, key = asked.body, asked.key
    command = PostTransaction(
        asked.context,
        asked.ledger,
        Operation(key, operation_id(asked.ledger, key), fingerprint("POST", asked.path, asked.sent)),
        Description(reference=body.reference, description=body.description, metadata=body.metadata),
        tuple(body.entries),
        body.effective_at,
    )
    outcome = await asked.service.writer.perform(command)
    headers = {POSITION: str(outcome.position)}
    if outcome.replayed:
        headers[REPLAYED] = "true"
    return answered(outcome.state, headers)


async def get_transaction(asked: Asked[NoQuery, None]) -> Answer:
    """Look at one transaction, a rejected one included. A confirmation read."""
    ledger = asked.service.ledger
    transaction, head = await asked.service.read(ledger.transaction, asked.ledger, asked.names["id"])
    headers = {POSITION: str(head), "ETag": etag(transaction.version)}
    known = asked.headers.get(b"if-none-match")
    if known is not None and is_unchanged(known.decode("latin-1"), transaction.version):
        return Answer(304, headers=headers)
    return json_answer(200, transaction_body(transaction), headers)


def answered(transaction: Transaction, headers: dict[str, str]) -> Answer:
    """Return the answer to the keyed request that made a transaction, the same each time."""
    if transaction.rejection is not None:
        refusal = rejection_problem(transaction)
        return Answer(refusal["status"], to_json(refusal), headers, MEDIA_TYPE)
    location = f"/v1/ledgers/{transaction.ledger}/transactions/{transaction.id}"
    headers |= {"ETag": etag(transaction.version), "Location": location}
    return json_answer(201, transaction_body(transaction), headers)


def rejection_problem(transaction: Transaction) -> Any:
    """Return the problem that answers the request that made a rejected transaction, the first answer's own."""
    assert transaction.rejection is not None
    code, detail = transaction.rejection
    members = {"transaction_id": transaction.id}
    return problem(code, detail, request_path(transaction), transaction.correlation_id, members)


def request_path(transaction: Transaction) -> str:
    """Return the path that the request for a transaction was sent to, or could have been instead of a batch."""
    transactions = f"/v1/ledgers/{transaction.ledger}/transactions"
    related = transaction.related
    match transaction.kind:
        case "settlement":
            return f"{transactions}/{related.settles}/settle"
        case "void":
            return f"{transactions}/{related.voids}/void"
        case "reversal":
            return f"{transactions}/{related.reverses}/reverse"
    return transactions


ENDPOINTS = [
    Endpoint(
        Declaration(
            "POST",
            "/v1/ledgers/{ledger}/transactions",
            "post_transaction",
            "Transactions",
            "Post a transaction",
            Consistency.LINEARIZABLE,
            CLIENT,
            (
                Returns(
                    201,
                    "The transaction, posted.",
                    TransactionBody,
                    examples.TRANSACTION,
                    ("ETag", "Location", "Idempotent-Replayed"),
                ),
            ),
            body=TransactionRequest,
            body_example=examples.TRANSACTION_REQUEST,
            is_keyed=True,
            problems=(
                AccountNotFound,
                UnbalancedTransaction,
                AccountClosed,
                AccountFrozen,
                AmountOverflow,
                InsufficientFunds,
                BalanceLimitExceeded,
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
            "Look at a transaction",
            Consistency.LINEARIZABLE,
            READER,
            (
                Returns(200, "The transaction.", TransactionBody, examples.TRANSACTION, ("ETag",)),
                Returns(304, "The transaction is as If-None-Match knows it.", headers=("ETag",)),
            ),
            problems=(TransactionNotFound,),
        ),
        get_transaction,
    ),
]
