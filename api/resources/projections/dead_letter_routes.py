"""Dead letters, the events that a projection could not apply: list, show, retry and discard them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from psycopg import Connection

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, OVERSEER, Concerns, NoQuery, Returns
from api.http.endpoint import endpoint
from api.http.fields import OptionalReason, RequiredReason, SpanningPage, Time
from api.http.pages import reflected
from api.http.responses import Answer, json_answer
from api.http.spanning.lists import listed, part_bytes
from api.http.spanning.spans import Spans
from api.resources.examples import page_of
from api.resources.projections import examples
from api.resources.projections.dead_letter_schemas import (
    DeadLetterBody,
    DeadLettersQuery,
    RetryQuery,
    dead_letter_body,
)
from domain.model.ids import is_id
from domain.model.streams import ledger_of
from projections.engine.dead_letters import DeadLetter, find_letter, list_letters, stream_of
from projections.engine.live_version import Reading
from projections.errors import DeadLetterClosed, DeadLetterNotFound, ProjectionBehind
from projections.running.dead_letter_decisions import discard, retry


def _ledgers_of(connection: Connection[Any], names: Mapping[str, str]) -> Sequence[str] | None:
    stream = stream_of(connection, UUID(names["id"])) if is_id(names["id"]) else None
    return [ledger_of(stream)] if stream else None


def _id(names: Mapping[str, str]) -> UUID:
    if not is_id(names["id"]):
        raise DeadLetterNotFound
    return UUID(names["id"])


_decision = partial(
    endpoint,
    "POST",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[Returns(200, "The dead letter.", DeadLetterBody, examples.CLOSED_DEAD_LETTER)],
    problems=[DeadLetterNotFound, DeadLetterClosed, ProjectionBehind],
    concerns=Concerns.THING,
    ledgers_of=_ledgers_of,
    spans=Spans.FOUND,
    is_body_optional=True,
)


@endpoint(
    "GET",
    "/v1/dead-letters",
    summary="List dead letters",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[
        Returns(200, "A page of dead letters.", SpanningPage[DeadLetterBody], page_of(examples.DEAD_LETTER))
    ],
    concerns=Concerns.GRANTED,
    place=tuple[Time, UUID],
    spans=Spans.ALL,
)
async def list_dead_letters(call: Call[DeadLettersQuery, None]) -> Answer:
    """List dead letters in the order of their first failure, including closed ones. Filters are combined."""
    return json_answer(200, *await listed(call, _read, dead_letter_body, _place))


async def _read(call: Call[DeadLettersQuery, None]) -> Reading[Sequence[DeadLetter]]:
    query = call.query
    read = partial(
        list_letters,
        projection=query.projection or None,
        state=query.state or None,
        after=call.cursor_position,
        limit=query.page_size + 1,
        most_bytes=part_bytes(call),
        descending=query.descending,
        granted=call.caller.granted,
    )
    return await call.service.look_up_at_head(read)


def _place(letter: DeadLetter) -> tuple[str, str]:
    return letter.first_failed_at, str(letter.id)


@endpoint(
    "GET",
    "/v1/dead-letters/{id}",
    summary="Show a dead letter",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "The dead letter.", DeadLetterBody, examples.DEAD_LETTER)],
    problems=[DeadLetterNotFound],
    concerns=Concerns.THING,
    ledgers_of=_ledgers_of,
    spans=Spans.FOUND,
)
async def get_dead_letter(call: Call[NoQuery, None]) -> Answer:
    """Show one dead letter."""
    found = await call.service.look_up_at_head(partial(find_letter, id=_id(call.path_params)))
    return _shown(call, found.found)._replace(headers=reflected(found))


@_decision(
    "/v1/dead-letters/{id}/retry",
    summary="Retry a dead letter",
    body_example={"reason": "mended in release 0.1.1"},
)
async def retry_dead_letter(call: Call[RetryQuery, OptionalReason]) -> Answer:
    """Apply the event of a dead letter and then, in order, the events held behind it, in one transaction.

    If the event fails again, nothing is applied: the letter stays `open`, with one more attempt and the new reason. If
    a later event fails, those before it are applied, the letter is `resolved`, and `followed_by` names the dead letter
    that holds the rest. A letter that is already resolved is returned unchanged. A letter of a version that is being
    rebuilt can be retried once that version is live.

    With `dry_run=true` all of it is done and then undone: the answer is the letter as it would be, and nothing changes.
    The letter that `followed_by` then names does not exist. The projection waits meanwhile, as for a real retry.
    """
    decide = partial(
        retry,
        id=_id(call.path_params),
        by=call.context,
        reason=call.body.reason,
        dry_run=call.query.dry_run,
    )
    return _shown(call, await call.service.query(decide))


@_decision(
    "/v1/dead-letters/{id}/discard",
    summary="Discard a dead letter",
    body_example={"reason": "written by a test program, see incident 12"},
)
async def discard_dead_letter(call: Call[NoQuery, RequiredReason]) -> Answer:
    """Skip the event of a dead letter and apply, in order, the events held behind it, in one transaction. A reason is
    needed.

    Only this version of the projection skips the event: a rebuilt version meets it again. If a later event fails,
    `followed_by` names the dead letter that holds the rest. A letter that is already discarded is returned unchanged.
    """
    decide = partial(discard, id=_id(call.path_params), by=call.context, reason=call.body.reason)
    return _shown(call, await call.service.query(decide))


def _shown(call: Call[Any, Any], letter: DeadLetter) -> Answer:
    return json_answer(200, call.as_placed(dead_letter_body(letter)))
