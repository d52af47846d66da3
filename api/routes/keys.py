"""Keys to the API: make one, list them, revoke one. For operators, who may hand out any role."""

from functools import partial
from typing import Any
from uuid import UUID

from api import examples
from api.answers import Answer, json_answer
from api.consistency import Consistency
from api.declaration import OPERATOR, OVERSEER, Declaration, NoQuery, Returns
from api.endpoint import Asked, Endpoint
from api.lists import page
from api.problems import Forbidden, PathNotFound
from api.schemas.common import Page, Time
from api.schemas.keys import KeyBody, KeyRequest, KeysQuery, NewKeyBody, key_body


async def make_key(asked: Asked[NoQuery, KeyRequest]) -> Answer:
    """Make a key. It is shown in this answer and never again; its name is the actor of what is done with it."""
    body, service = asked.body, asked.service
    if not all(asked.caller.may_use(ledger) for ledger in body.ledgers):
        raise Forbidden("A key can only grant the ledgers that it was granted.")
    made, key = await service.read(service.keys.add, body.name, body.roles, body.ledgers)
    shown: dict[str, Any] = {**key_body(made), "key": key}
    del shown["created_at"]
    return json_answer(201, shown, {"Cache-Control": "no-store"})


async def get_keys(asked: Asked[KeysQuery, None]) -> Answer:
    """List the valid keys by when they were made, without the keys themselves."""
    query, service = asked.query, asked.service
    read = partial(service.keys.valid, asked.place, query.page_size + 1, query.descending)
    rows = await service.read(read)
    return json_answer(200, page(asked, rows, key_body, lambda key: (key.created_at, str(key.id))))


async def revoke_key(asked: Asked[NoQuery, None]) -> Answer:
    """Revoke a key for ever; other processes believe it for one more second at most. Again is as once."""
    service, text = asked.service, asked.names["id"]
    try:
        id = UUID(text)
    except ValueError:
        raise PathNotFound("There is no key with this id.") from None
    if not await service.read(service.keys.revoke, id):
        raise PathNotFound("There is no key with this id.")
    return Answer(204)


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
