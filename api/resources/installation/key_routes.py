"""Keys to the API: make, list, rotate and revoke them. For operators, who may hand out any role.

A key concerns all ledgers that it was granted. So an operator sees, rotates and revokes only keys whose ledgers its own
key was granted too. The bootstrap key is for operators who were granted every ledger.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from psycopg import Connection

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, OVERSEER, Concerns, NoQuery, Returns
from api.http.endpoint import endpoint
from api.http.fields import Page, Time
from api.http.pages import PAGE_BYTES, page_at_head
from api.http.responses import Answer, json_answer
from api.http.spanning.spans import Spans
from api.problems import BootstrapKeyFixed, Forbidden, KeyExists, PathNotFound
from api.resources.examples import page_of
from api.resources.installation import examples
from api.resources.installation.key_schemas import (
    KeyBody,
    KeyRequest,
    KeyRotation,
    KeysQuery,
    NewKeyBody,
    key_body,
    new_key_body,
)
from api.security import keys as security
from domain.model.ids import is_id


def _ledgers_of(connection: Connection[Any], names: Mapping[str, str]) -> Sequence[str] | None:
    try:
        key = security.look_at_key(connection, _id(names))
    except PathNotFound:
        return None
    return None if key is None else key.ledgers


def _id(names: Mapping[str, str]) -> UUID:
    if not is_id(names["id"]):
        raise _not_found()
    return UUID(names["id"])


def _not_found() -> PathNotFound:
    return PathNotFound("There is no key with this id.")


@endpoint(
    "POST",
    "/v1/keys",
    summary="Make a key",
    tag="Keys",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[Returns(201, "The key. It is shown only now.", NewKeyBody, examples.NEW_KEY)],
    problems=[KeyExists],
    body_example=examples.KEY_REQUEST,
    concerns=Concerns.GRANTED,
    spans=Spans.HOME,
)
async def make_key(call: Call[NoQuery, KeyRequest]) -> Answer:
    """Make a key. The key itself is in this answer and is never shown again.

    Its name is recorded as the actor of everything done with it. The ledgers in `ledgers` must exist; those in
    `ledgers_to_come` need not. Making, rotating and revoking a key is recorded for ever, with who did it, when, and for
    what roles and ledgers. The key itself is not recorded. `GET /v1/audit/events` lists these records.
    """
    body = call.body
    if not call.caller.may_grant(body.granted):
        raise Forbidden("A key can only grant the ledgers that it was granted.")
    make = partial(security.add_key, wanted=body.wanted, by=call.context)
    return _shown_once(*await call.service.query(make))


@endpoint(
    "GET",
    "/v1/keys",
    summary="List keys",
    tag="Keys",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "A page of keys.", Page[KeyBody], page_of(examples.KEY))],
    concerns=Concerns.GRANTED,
    place=tuple[Time, UUID],
    spans=Spans.HOME,
)
async def list_keys(call: Call[KeysQuery, None]) -> Answer:
    """List keys in the order in which they were made, including revoked and expired ones. The keys themselves are not
    shown.

    A key is left out if it was granted a ledger that the asking key was not.
    """
    query = call.query
    read = partial(
        security.list_keys,
        after=call.cursor_position,
        limit=query.page_size + 1,
        most_bytes=PAGE_BYTES,
        descending=query.descending,
        granted=call.caller.granted,
        state=query.state or None,
    )
    found = await call.service.look_up_at_head(read)
    return page_at_head(call, found, key_body, lambda key: (key.created_at, str(key.id)))


@endpoint(
    "POST",
    "/v1/keys/{id}/rotate",
    summary="Rotate a key",
    tag="Keys",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[Returns(201, "The new key. It is shown only now.", NewKeyBody, examples.NEW_KEY)],
    problems=[PathNotFound, BootstrapKeyFixed],
    body_example=examples.ROTATION,
    is_body_optional=True,
    concerns=Concerns.THING,
    ledgers_of=_ledgers_of,
    spans=Spans.HOME,
)
async def rotate_key(call: Call[NoQuery, KeyRotation]) -> Answer:
    """Make a new key with the name, roles and ledgers of this one. This one ends when the overlap is over.

    Without an overlap it ends at once; other processes may accept it for one more second. If it would end earlier
    anyway, that stays so. The bootstrap key cannot be rotated: it is configured where the service is started.
    """
    service, id, seconds = call.service, _id(call.path_params), call.body.overlap_seconds
    rotate = partial(security.rotate_key, id=id, overlap_seconds=seconds, by=call.context)
    rotated = await service.query(rotate)
    service.keys.forget()
    if rotated is None:
        raise PathNotFound(f"There is no valid key {id}: it was never made, is revoked, or has ended.")
    return _shown_once(*rotated)


@endpoint(
    "DELETE",
    "/v1/keys/{id}",
    summary="Revoke a key",
    tag="Keys",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[Returns(204, "The key is revoked.")],
    problems=[PathNotFound],
    concerns=Concerns.THING,
    ledgers_of=_ledgers_of,
    spans=Spans.HOME,
)
async def revoke_key(call: Call[NoQuery, None]) -> Answer:
    """Revoke a key for ever. Other processes may accept it for one more second. Idempotent."""
    service = call.service
    revoke = partial(security.revoke_key, id=_id(call.path_params), by=call.context)
    found = await service.query(revoke)
    service.keys.forget()
    if not found:
        raise PathNotFound(f"There is no key {_id(call.path_params)}.")
    return Answer(204)


def _shown_once(made: security.Key, key: str) -> Answer:
    return json_answer(201, new_key_body(made, key), {"Cache-Control": "no-store"})
