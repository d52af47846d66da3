"""Answers to payout requests: the payout, or the problem that refused it."""

from typing import Any, cast

from pydantic_core import to_json

from api.http.responses import POSITION, REPLAYED, Answer, etag, json_answer
from api.problems import MEDIA_TYPE, problem
from api.resources.payouts.schemas import payout_body
from api.resources.transactions.answers import RETRY_AFTER_SECONDS
from api.resources.transactions.operation_schemas import OperationBody, State
from domain.model.commands import Outcome
from domain.model.payouts.payout import Payout, PayoutState

_STATES: dict[PayoutState, State] = {
    "accepted": "accepted",
    "submitted": "in_progress",
    "in_doubt": "reconciling",
    "stuck": "reconciling",
    "completed": "completed",
    "failed": "completed",
    "rejected": "rejected",
}


def payout_answer(outcome: Outcome) -> Answer:
    """Return the answer to a payout request. Repeating the request gives the same answer."""
    payout: Payout = outcome.state
    headers = {POSITION: str(outcome.position)}
    if outcome.replayed:
        headers[REPLAYED] = "true"
    if payout.rejection is not None:
        refusal = payout_rejection(payout)
        return Answer(refusal["status"], to_json(refusal), headers, MEDIA_TYPE)
    headers |= {
        "ETag": etag(payout.version),
        "Location": payout_path(payout),
        "Retry-After": str(RETRY_AFTER_SECONDS),
    }
    return json_answer(202, payout_body(payout), headers)


def payout_rejection(payout: Payout) -> Any:
    """Return the problem that answers a rejected payout request."""
    assert payout.rejection is not None
    code, detail, details = payout.rejection
    path = f"/v1/ledgers/{payout.ledger}/payouts"
    members = {"transaction_id": payout.id, **details}
    return problem(code, detail, path, payout.correlation_id, members)


def payout_operation_body(payout: Payout) -> OperationBody:
    """Return the state of a payout request. `outcome` says whether the money left."""
    body: Any = {
        "idempotency_key": payout.idempotency_key,
        "state": _STATES[payout.state],
        "retry": "unnecessary",
        "resource": payout_path(payout),
        "request_fingerprint": payout.fingerprint,
        "accepted_at": payout.accepted_at,
        "completed_at": payout.ended_at,
        "correlation_id": payout.correlation_id,
        "position": payout.position,
        "outcome": payout.state if payout.state in ("completed", "failed") else None,
        "problem": payout_rejection(payout) if payout.rejection else None,
    }
    return cast(OperationBody, body)


def payout_path(payout: Payout) -> str:
    """Return the path of a payout."""
    return f"/v1/ledgers/{payout.ledger}/payouts/{payout.id}"
