"""Answers to keyed requests: the transaction, the problem that refused it, or the operation that waits."""

from typing import Any, cast
from urllib.parse import quote

from pydantic_core import to_json

from api.http.responses import POSITION, REPLAYED, Answer, etag, json_answer
from api.problems import MEDIA_TYPE, problem
from api.resources.transactions.operation_schemas import OperationBody, State
from api.resources.transactions.schemas import transaction_body
from domain.model.commands import Outcome
from domain.model.transactions import Acceptance, Transaction

RETRY_AFTER_SECONDS = 1


def answer(outcome: Outcome) -> Answer:
    """Return the answer to a keyed request. Repeating the request gives the same answer."""
    headers = {POSITION: str(outcome.position)}
    if outcome.replayed:
        headers[REPLAYED] = "true"
    made: Transaction | Acceptance = outcome.state
    if isinstance(made, Acceptance):
        headers["Location"] = operation_path(made)
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        headers["Preference-Applied"] = "respond-async"  # RFC 7240 §3
        return json_answer(202, operation_body(made), headers)
    if made.rejection is not None:
        refusal = rejection_problem(made)
        return Answer(refusal["status"], to_json(refusal), headers, MEDIA_TYPE)
    headers["ETag"] = etag(made.version)
    headers["Location"] = transaction_path(made)
    return json_answer(201, transaction_body(made), headers)


def rejection_problem(transaction: Transaction) -> Any:
    """Return the problem that first answered the request for a rejected transaction."""
    assert transaction.rejection is not None
    code, detail, details = transaction.rejection
    members = {"transaction_id": transaction.id, **details}
    return problem(code, detail, request_path(transaction), transaction.correlation_id, members)


def operation_body(of: Transaction | Acceptance) -> OperationBody:
    """Return the state of a keyed request, as its first answer showed it."""
    made = of.as_first_answered()
    state: State = "accepted"
    completed_at, refusal = None, None
    if isinstance(made, Transaction):
        state, completed_at = "completed", made.recorded_at
        if made.rejection:
            state, refusal = "rejected", rejection_problem(made)
    body: Any = {
        "idempotency_key": made.idempotency_key,
        "state": state,
        "retry": "unnecessary",
        "resource": transaction_path(made),
        "request_fingerprint": made.fingerprint,
        "accepted_at": made.accepted_at,
        "completed_at": completed_at,
        "correlation_id": made.correlation_id,
        "position": made.position,
        "outcome": None,
        "problem": refusal,
    }
    return cast(OperationBody, body)


def transaction_path(made: Transaction | Acceptance) -> str:
    """Return the path where a transaction is read, or will be."""
    return f"{transactions_path(made.ledger)}/{made.id}"


def operation_path(made: Transaction | Acceptance) -> str:
    """Return the path of the operation that requested a transaction."""
    return f"/v1/ledgers/{made.ledger}/operations/{quote(made.idempotency_key, safe='')}"


def transactions_path(ledger: str) -> str:
    """Return the path where a ledger's transactions are posted."""
    return f"/v1/ledgers/{ledger}/transactions"


def request_path(transaction: Transaction) -> str:
    """Return the path of the request for a transaction. For an item of a batch: the path of its single form."""
    path, related = transactions_path(transaction.ledger), transaction.related
    match transaction.kind:
        case "settlement":
            return f"{path}/{related.settles}/settle"
        case "void":
            return f"{path}/{related.voids}/void"
        case "reversal":
            return f"{path}/{related.reverses}/reverse"
    return path
