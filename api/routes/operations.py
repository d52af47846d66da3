"""Operations: what became of a keyed request."""

from api import examples
from api.answers import POSITION, Answer, json_answer
from api.consistency import Consistency
from api.declaration import READER, Declaration, NoQuery, Returns
from api.endpoint import Asked, Endpoint
from api.schemas.operations import OperationBody
from api.trace_answers import any_operation_body
from domain.model.errors import OperationUnknown


async def get_operation(asked: Asked[NoQuery, None]) -> Answer:
    """Tell what became of a keyed request: for a client whose answer was lost. A confirmation read.

    404 `operation_unknown` with `"retry": "safe"` says that nothing of it was recorded.
    """
    ledger = asked.service.ledger
    made, head = await asked.service.read(ledger.operation, asked.ledger, asked.names["key"])
    return json_answer(200, any_operation_body(made), {POSITION: str(head)})


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
