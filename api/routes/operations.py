"""Operations: what became of a keyed request."""

from api import examples
from api.answers import POSITION, Answer, json_answer
from api.consistency import Consistency
from api.declaration import READER, Declaration, NoQuery, Returns
from api.endpoint import Asked, Endpoint
from api.routes.transactions import rejection_problem
from api.schemas.operations import OperationBody, State
from domain.errors import OperationUnknown
from domain.transactions import Acceptance, Transaction


async def get_operation(asked: Asked[NoQuery, None]) -> Answer:
    """Tell what became of a keyed request: for a client whose answer was lost. A confirmation read.

    404 `operation_unknown` with `"retry": "safe"` says that nothing of it was recorded.
    """
    ledger = asked.service.ledger
    made, head = await asked.service.read(ledger.operation, asked.ledger, asked.names["key"])
    return json_answer(200, operation_body(made), {POSITION: str(head)})


def operation_body(of: Transaction | Acceptance) -> OperationBody:
    """Return what became of a keyed request, as the first answer to it showed it."""
    made = of.as_first_answered()
    state: State = "accepted"
    completed_at, problem = None, None
    if isinstance(made, Transaction):
        state, completed_at = "completed", made.recorded_at
        if made.rejection:
            state, problem = "rejected", rejection_problem(made)
    return {
        "idempotency_key": made.idempotency_key,
        "state": state,
        "retry": "unnecessary",
        "resource": f"/v1/ledgers/{made.ledger}/transactions/{made.id}",
        "request_fingerprint": made.fingerprint,
        "accepted_at": made.accepted_at,
        "completed_at": completed_at,
        "correlation_id": made.correlation_id,
        "position": made.position,
        "problem": problem,
    }


ENDPOINTS = [
    Endpoint(
        Declaration(
            "GET",
            "/v1/ledgers/{ledger}/operations/{key}",
            "get_operation",
            "Operations",
            "Ask what became of a request",
            Consistency.LINEARIZABLE,
            READER,
            (Returns(200, "What became of it.", OperationBody, examples.OPERATION),),
            problems=(OperationUnknown,),
        ),
        get_operation,
    ),
]
