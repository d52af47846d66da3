"""Operations: what became of a keyed request."""

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import READER, NoQuery, Returns
from api.http.endpoint import endpoint
from api.http.responses import POSITION, Answer, json_answer
from api.resources.operations.answers import any_operation_body
from api.resources.transactions import examples
from api.resources.transactions.operation_schemas import OperationBody
from domain.model.errors import OperationUnknown


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/operations/{key}",
    summary="Ask what became of a request",
    tag="Operations",
    consistency=Consistency.LINEARIZABLE,
    roles=READER,
    returns=[Returns(200, "What became of the request.", OperationBody, examples.OPERATION)],
    problems=[OperationUnknown],
)
async def get_operation(call: Call[NoQuery, None]) -> Answer:
    """Say what became of a keyed request, for a client that got no answer.

    It is read from the journal, so every write acknowledged before is seen. 404 `operation_unknown` with `"retry":
    "safe"` means that nothing of the request was recorded.
    """
    ledger = call.service.ledger
    made, head = await call.service.read(ledger.operation, call.ledger, call.path_params["key"])
    return json_answer(200, any_operation_body(made), {POSITION: str(head)})
