"""Keys to the API: make one, list them, rotate one, revoke one. For operators, who may hand out any role."""

from functools import partial
from typing import Any
from uuid import UUID

from api import examples, security
from api.answers import Answer, json_answer
from api.consistency import Consistency
from api.declaration import OPERATOR, OVERSEER, Declaration, NoQuery, Returns
from api.endpoint import Asked, Endpoint
from api.lists import page
from api.problems import BootstrapKeyFixed, Forbidden, PathNotFound
from api.schemas.common import Page, Time
from api.schemas.keys import KeyBody, KeyRequest, KeysQuery, NewKeyBody, Rotation, key_body, new_key_body


async def make_key(asked: Asked[NoQuery, KeyRequest]) -> Answer:
    """Make a key. It is shown in this answer and never again; its name is the actor of what is done with it."""
    body = asked.body
    if not asked.caller.may_grant(body.ledgers):
        raise Forbidden("A key can only grant the ledgers that it was granted.")
    make = partial(security.add_key, name=body.name, roles=body.roles, ledgers=body.ledgers)
    return _shown_once(*await asked.service.query(make))


async def get_keys(asked: Asked[KeysQuery, None]) -> Answer:
    """List the valid keys by when they were made, without the keys themselves."""
    query = asked.query
    read = partial(
        security.valid_keys, after=asked.place, limit=query.page_size + 1, descending=query.descending
    )
    rows = await asked.service.look_up(read)
    return json_answer(200, page(asked, rows, key_body, lambda key: (key.created_at, str(key.id))))


async def rotate_key(asked: Asked[NoQuery, Rotation]) -> Answer:
    """Make a new key with the name, roles and ledgers of this one, which ends when the overlap is over.

    Without an overlap it ends at once; other processes believe it for one more second at most. An end that is nearer
    already stays. The bootstrap key is refused: it is configured where the service is started.
    """
    service, id = asked.service, _id(asked)
    old = await service.look_up(partial(security.look_at_key, id=id))
    if old is None:
        raise _not_found()
    if not asked.caller.may_grant(old.ledgers):
        raise Forbidden("A key can only be rotated with one that was granted all of its ledgers.")
    rotate = partial(security.rotate_key, id=id, overlap_seconds=asked.body.overlap_seconds)
    rotated = await service.query(rotate)
    service.keys.forget()
    if rotated is None:
        raise _not_found()
    return _shown_once(*rotated)


async def revoke_key(asked: Asked[NoQuery, None]) -> Answer:
    """Revoke a key for ever; other processes believe it for one more second at most. Again is as once."""
    service = asked.service
    found = await service.query(partial(security.revoke_key, id=_id(asked)))
    service.keys.forget()
    if not found:
        raise _not_found()
    return Answer(204)


def _id(asked: Asked[Any, Any]) -> UUID:
    try:
        return UUID(asked.names["id"])
    except ValueError:
        raise _not_found() from None


def _not_found() -> PathNotFound:
    return PathNotFound("There is no key with this id.")


def _shown_once(made: security.Key, key: str) -> Answer:
    return json_answer(201, new_key_body(made, key), {"Cache-Control": "no-store"})


ENDPOINTS = [
    Endpoint(
        Declaration(
            "POST",
            "/v1/keys",
            "make_key",
            "Keys",
            "Make a key",
            Consistency.PROCESS,
            OPERATOR,
            (Returns(201, "The key, shown this once.", NewKeyBody, examples.NEW_KEY),),
            body=KeyRequest,
            body_example=examples.KEY_REQUEST,
        ),
        make_key,
    ),
    Endpoint(
        Declaration(
            "GET",
            "/v1/keys",
            "list_keys",
            "Keys",
            "List keys",
            Consistency.PROCESS,
            OVERSEER,
            (Returns(200, "A page of keys.", Page[KeyBody], examples.page(examples.KEY)),),
            query=KeysQuery,
            place=tuple[Time, UUID],
        ),
        get_keys,
    ),
    Endpoint(
        Declaration(
            "POST",
            "/v1/keys/{id}/rotate",
            "rotate_key",
            "Keys",
            "Rotate a key",
            Consistency.PROCESS,
            OPERATOR,
            (Returns(201, "The new key, shown this once.", NewKeyBody, examples.NEW_KEY),),
            body=Rotation,
            body_example=examples.ROTATION,
            problems=(PathNotFound, BootstrapKeyFixed),
        ),
        rotate_key,
    ),
    Endpoint(
        Declaration(
            "DELETE",
            "/v1/keys/{id}",
            "revoke_key",
            "Keys",
            "Revoke a key",
            Consistency.PROCESS,
            OPERATOR,
            (Returns(204, "The key is valid no more."),),
            problems=(PathNotFound,),
        ),
        revoke_key,
    ),
]
