"""Traces: what happened to an operation or under a correlation id, and what is safe to do."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from psycopg import Connection

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, READER, Concerns, NoQuery, Returns
from api.http.disclosure import payout_as_told, transaction_as_told
from api.http.endpoint import endpoint
from api.http.pages import reflected
from api.http.responses import HEAD, POSITION, Answer, json_answer
from api.http.spanning.asking import ask_all
from api.http.spanning.lists import reflected_of_each
from api.http.spanning.shown_positions import shown_members
from api.http.spanning.spans import Spans
from api.resources.operations import examples
from api.resources.operations.answers import conversation_body, trace_body
from api.resources.operations.both_sides import with_both_sides, with_unnamed
from api.resources.operations.trace_schemas import ConversationBody, ConversationQuery, TraceBody
from api.security.keys import Key
from api.service.service import Service
from domain.application import system_clock
from domain.model.errors import OperationUnknown
from domain.model.idempotency import operation_id
from domain.model.payouts.payout import Payout
from domain.model.refusals import operation_unknown
from domain.model.transactions import Transaction
from domain.placement.ledger_map import held
from projections.diagnosis.moves import Between, LedgerMove, between, read_moves
from projections.diagnosis.trace.conversation import stories_between, stories_of_conversation
from projections.diagnosis.trace.story import Made, Story, story_of_conversation, story_of_operation
from projections.engine.live_version import Reading

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
    (story,) = await with_unnamed([await with_both_sides(story, call)], call)
    body = trace_body(_told(story, call), ledger, system_clock(), key=key, installation=call.installation)
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
    (story,) = await with_unnamed([await with_both_sides(story, call)], call)
    now, installation = system_clock(), call.installation
    body = trace_body(
        _told(story, call), ledger, now, correlation_id=correlation_id, installation=installation
    )
    return json_answer(200, body, {POSITION: str(story.position), HEAD: str(story.head)})


@endpoint(
    "GET",
    "/v1/trace",
    summary="Trace a correlation id in all ledgers",
    tag="Operations",
    consistency=Consistency.JOURNAL,
    roles=TRACER,
    returns=[Returns(200, "The conversation.", ConversationBody, examples.CONVERSATION)],
    concerns=Concerns.GRANTED,
    spans=Spans.ALL,
)
async def trace_everywhere(call: Call[ConversationQuery, None]) -> Answer:
    """Tell the whole story of a correlation id in all ledgers that the key was granted, in the order of time.

    A transfer between ledgers is one conversation in both of them, which in a placement may be in two installations.
    Each moment says where it happened: positions belong to an installation. Without any record the timeline is empty.
    """
    if call.installations.is_placement:
        told = await ask_all([service for _, service in call.installations.all()], partial(_traces, call))
        found = [trace for of in told.said.values() for trace in of.found.traces]
        traces = [trace for trace in found if await _is_told_there(call, trace, found)]
        traces += await _traces_between(call, {name: of.found.moves for name, of in told.said.items()})
        body = conversation_body(traces, call.query.correlation_id)
        return json_answer(200, {**body, "unanswered": told.unanswered, **reflected_of_each(told)})
    told_here = await _traces(call, call.service)
    body = conversation_body(told_here.found.traces, call.query.correlation_id)
    return json_answer(200, body, reflected(told_here))


class _Found(NamedTuple):
    """The traces of an installation, and where the ledgers stood there that move or have moved."""

    traces: Sequence[Mapping[str, Any]]
    moves: Sequence[LedgerMove]


async def _is_told_there(
    call: Call[Any, Any], trace: Mapping[str, Any], found: Sequence[Mapping[str, Any]]
) -> bool:
    """Tell whether a trace is from the installation that holds its ledger, where others tell of the ledger too.

    One that the ledger has left keeps its history.
    """
    if sum(other["ledger"] == trace["ledger"] for other in found) == 1:
        return True
    holder = await call.installations.of(trace["ledger"])
    return holder.name == str(trace["installation"])


async def _traces(call: Call[ConversationQuery, None], service: Service) -> Reading[_Found]:
    """Return the traces of a correlation id in the ledgers of an installation that the caller may see."""

    def read(connection: Connection[Any]) -> tuple[list[LedgerMove], list[tuple[str, Story]]]:
        # First, so that a ledger that leaves or arrives meanwhile is not missed at both places.
        moves = read_moves(connection)
        ledgers = filter(call.caller.may_use, held(connection))
        return moves, list(stories_of_conversation(connection, ledgers, call.query.correlation_id))

    found = await service.look_up_at_head(read)
    moves, stories = found.found
    return Reading(_Found(await _bodies(call, service, stories), moves), *found[1:])


async def _traces_between(
    call: Call[ConversationQuery, None], said: Mapping[str, Sequence[LedgerMove]]
) -> list[Mapping[str, Any]]:
    """Return the traces in ledgers that have left an installation and have not arrived, from the one that they left."""
    traces: list[Mapping[str, Any]] = []
    lost = sorted(of for of in between(said) if call.caller.may_use(of.ledger))
    for name, of_name in groupby(sorted(lost, key=attrgetter("left")), attrgetter("left")):
        service, left = call.installations.named(name), list(of_name)

        def read(connection: Connection[Any], left: Sequence[Between] = left) -> list[tuple[str, Story]]:
            return list(stories_between(connection, left, call.query.correlation_id))

        traces += await _bodies(call, service, await service.look_up(read))
    return traces


async def _bodies(
    call: Call[ConversationQuery, None], service: Service, stories: Sequence[tuple[str, Story]]
) -> list[Mapping[str, Any]]:
    """Return stories of an installation as they are shown."""
    correlation_id, now = call.query.correlation_id, system_clock()
    installation = service.name if call.installations.is_placement else None
    bodies: list[Mapping[str, Any]] = []
    complete = await with_unnamed([story for _, story in stories], call)
    for (ledger, _), story in zip(stories, complete, strict=True):
        told = _told(story, call)
        body = trace_body(told, ledger, now, correlation_id=correlation_id, installation=installation)
        bodies.append(shown_members(body, await service.shown_positions(ledger)))
    return bodies


def _told(story: Story, call: Call[Any, None]) -> Story:
    return story._replace(operations=tuple(_as_told(made, call.caller) for made in story.operations))


def _as_told(made: Made, caller: Key) -> Made:
    match made:
        case Payout():
            return payout_as_told(made, caller)
        case Transaction():
            return transaction_as_told(made, caller)
    return made
