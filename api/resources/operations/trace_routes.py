"""Traces: what happened to an operation or under a correlation id, and what is safe to do."""

from functools import partial
from typing import Any

from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, READER, NoQuery, Returns
from api.http.disclosure import payout_as_told, transaction_as_told
from api.http.endpoint import Call, endpoint
from api.http.responses import HEAD, POSITION, Answer, json_answer
from api.resources.operations import examples
from api.resources.operations.answers import trace_body
from api.resources.operations.both_sides import with_both_sides
from api.resources.operations.trace_schemas import ConversationQuery, TraceBody
from api.security.keys import Key
from domain.application import system_clock
from domain.model.errors import OperationUnknown
from domain.model.idempotency import operation_id
from domain.model.payouts.payout import Payout
from domain.model.refusals import operation_unknown
from domain.model.transactions import Transaction
from projections.diagnosis.trace.story import Made, Story, story_of_conversation, story_of_operation

TRACER = READER | OPERATOR
"""The roles that may trace: those that read the ledger, and those that repair what a trace shows to be broken."""


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/operations/{key}/trace",
    summary="Trace a request",
    tag="Operations",
    consistency=Consistency.LINEARIZABLE,
    roles=TRACER,
    returns=[Returns(200, "The trace.", TraceBody, examples.TRACE)],
    problems=[OperationUnknown],
)
async def trace_operation(call: Call[NoQuery, None]) -> Answer:
    """Tell the whole story of a keyed request in the order of time, and what is safe to do now.

    The story has the request, the events recorded, replays, the progress of projections, deliveries, calls of providers
    and dead letters, and for a bridge what the other ledger recorded, if the key was granted it. 404
    `operation_unknown` with `"retry": "safe"` means that nothing of the request was recorded.
    """
    ledger, key = call.ledger, call.path_params["key"]
    read = partial(story_of_operation, ledger=ledger, id=operation_id(ledger, key))
    try:
        story = await call.service.look_up(read)
    except OperationUnknown:
        raise operation_unknown(key) from None
    story = await with_both_sides(story, call)
    body = trace_body(_told(story, call), ledger, system_clock(), key=key)
    return json_answer(200, body, {POSITION: str(story.position)})


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/trace",
    summary="Trace a correlation id",
    tag="Operations",
    consistency=Consistency.JOURNAL,
    roles=TRACER,
    returns=[Returns(200, "The trace.", TraceBody, examples.TRACE)],
)
async def trace_conversation(call: Call[ConversationQuery, None]) -> Answer:
    """Tell the whole story of a correlation id: its events, operations, projections and deliveries.

    Operations that began under another correlation id and were repeated under this one are included. A correlation id
    without any record has an empty timeline and the verdict `nothing_recorded`.
    """
    ledger = call.ledger
    correlation_id = call.query.correlation_id
    read = partial(story_of_conversation, ledger=ledger, correlation_id=correlation_id)
    story = await call.service.look_up(read)
    story = await with_both_sides(story, call)
    body = trace_body(_told(story, call), ledger, system_clock(), correlation_id=correlation_id)
    return json_answer(200, body, {POSITION: str(story.position), HEAD: str(story.head)})


def _told(story: Story, call: Call[Any, None]) -> Story:
    return story._replace(operations=tuple(_as_told(made, call.caller) for made in story.operations))


def _as_told(made: Made, caller: Key) -> Made:
    match made:
        case Payout():
            return payout_as_told(made, caller)
        case Transaction():
            return transaction_as_told(made, caller)
    return made
