"""Endpoints: what a route declares of itself, and judging a request in the contract's order before it is served.

Caller, load, message, shape: the same for every route, from one declaration that the OpenAPI document is made from as
well. What comes after (ledger, key, what is named, version, rules) is judged by the domain.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import structlog
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.types import Receive, Scope, Send

from api.http.body import (
    LARGE_BODY_BYTES,
    escaped,
    parse_json,
    read_body,
    require_json,
    require_storable,
    require_uncoded,
)
from api.http.consistency import Prefer, preferences
from api.http.cursors import decode_cursor, encode_cursor, list_identity
from api.http.declaration import OVERSEER, Concerns, Declaration
from api.http.fields import body_errors, query_errors
from api.http.idempotency import idempotency_key
from api.http.openapi import documentation
from api.http.request import RequestHead
from api.http.responses import DRY_RUN, JSON, Answer, Streamed
from api.problems import Forbidden, InvalidShape, Unauthenticated, UnsupportedMediaType
from api.security.keys import EVERY_LEDGER, NOBODY, Key
from api.service.body_room import RoomShare
from api.service.key_cache import KNOWN_FOR_SECONDS
from api.service.service import Service
from domain.model.errors import JournalUnavailable
from domain.model.events import Context

QueryT = TypeVar("QueryT", bound=BaseModel)
BodyT = TypeVar("BodyT")
Judged = TypeVar("Judged")

MAX_QUERY_PARAMETERS = 100

_log = structlog.get_logger(__name__)


class Call(NamedTuple, Generic[QueryT, BodyT]):
    """A request that has been found well-formed and allowed.

    `path_params` are the parameters in the path. `raw_body` is the body as it was sent, before any default was filled
    in. `cursor_position` is where the cursor points, and `list_id` tells this list from others.
    """

    service: Service
    caller: Key
    context: Context
    path: str
    path_params: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    query: QueryT
    body: BodyT
    raw_body: Any
    key: str
    cursor_position: Any
    list_id: str

    @property
    def ledger(self) -> str:
        """The ledger that the path names."""
        return self.path_params["ledger"]

    @property
    def prefer(self) -> Prefer:
        """What the request prefers."""
        return preferences(self.headers.get(b"prefer"))

    def cursor_after(self, place: Any) -> str:
        """Return the cursor of the page that follows a place in this list."""
        return encode_cursor(self.list_id, place)


Serve = Callable[[Call[Any, Any]], Awaitable[Answer | Streamed]]


class Endpoint(APIRoute):
    """A route of the service: FastAPI documents it, and the declaration decides how it is served."""

    def __init__(self, declared: Declaration, serve: Serve) -> None:
        super().__init__(declared.path, methods=[declared.method], **documentation(declared, serve))
        _require_concern(declared)
        self.declared = declared
        self._serve = serve
        self._place = TypeAdapter(declared.place) if declared.place is not None else None
        fields = declared.query.model_fields
        asks = any(field.is_required() for field in fields.values())
        self._no_query = None if asks else declared.query()
        self._defaults = {
            field.alias or name: "" if field.default is None else str(field.default)
            for name, field in fields.items()
        }

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that matches path and method.

        A key that ends meanwhile is shown nothing more: what was read for a while is not sent, and a stream ends where
        it is. What was written is answered all the same.
        """
        try:
            await self._answer(scope, receive, send)
        finally:
            for name in scope.keys() & {"place", "place of answer"}:
                scope[name].leave()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = monotonic()
        call = await self._judge(scope, receive)
        is_dry_run = getattr(call.query, "dry_run", False)
        if is_dry_run:
            scope["is_dry_run"] = True  # for what refuses it
        answer = await self._serve(call)
        if "place" in scope:
            scope["place"].end_work()
        if isinstance(answer, Streamed):
            if scope["method"] == "HEAD":
                await answer.send_without_parts(send)
            else:
                self._keep_room(call, scope, answer.part_bytes)
                await answer.send_while_wanted(receive, send, partial(self._is_admitted, call, scope))
            return
        if self.declared.method == "GET" and monotonic() - began > KNOWN_FOR_SECONDS:
            await self._admit_again(call.service, scope["head"])
        if self.declared.method == "GET":
            self._keep_room(call, scope, len(answer.body))
        await (_tried_out(answer) if is_dry_run else answer).send(send)

    def _keep_room(self, call: Call[Any, Any], scope: Scope, size: int) -> None:
        """Take room for what waits until the client reads it; raise `Overloaded` if too much does."""
        if self.declared.roles and size > LARGE_BODY_BYTES:
            scope["place of answer"] = RoomShare(call.service.answers, call.caller.id)
            scope["place of answer"].grow(size)

    async def _body(self, scope: Scope, receive: Receive, caller: Key) -> bytes:
        """Return the body, once there is room for it and, if it is a large one, it is its turn."""
        service: Service = scope["state"]["service"]

        def make_room(size: int) -> None:
            scope.setdefault("place", RoomShare(service.room, caller.id)).grow(size)

        body = await read_body(receive, scope["head"].headers, self.declared.max_body_bytes, make_room)
        if "place" in scope:
            await scope["place"].begin_work()
        return body

    async def _judge(self, scope: Scope, receive: Receive) -> Call[Any, Any]:
        """Return the request, or raise the first refusal of it in the contract's order."""
        declared = self.declared
        head: RequestHead = scope["head"]
        service: Service = scope["state"]["service"]
        names: dict[str, str] = scope["path_params"]
        caller = NOBODY
        began = monotonic()
        if declared.roles and not (declared.may_be_public and service.metrics_are_public):
            # Known before it is allowed: a denial is logged with its actor.
            scope["caller"] = caller = await _caller(service, head.headers)
            await self._allow(service, caller, names)
        if declared.writes:
            service.writer.require_room()
        if declared.is_signed:
            service.signatures.require_known(names["provider"])
        bytes_sent = await self._body(scope, receive, caller) if declared.body else b""
        if monotonic() - began > KNOWN_FOR_SECONDS:
            await self._admit_again(service, head)
        if declared.is_signed:
            caller = service.signatures.signatory(names["provider"], head.headers, bytes_sent)
            scope["caller"] = caller
        is_empty = declared.is_body_optional and not bytes_sent
        sent = None
        if declared.body:
            sent = {} if is_empty else await _aside(service, bytes_sent, self._parsed, bytes_sent, head)
        key = idempotency_key(head.headers.get(b"idempotency-key")) if declared.is_keyed else ""
        given = _given(scope["query_string"])
        listed, place = self._page(scope["path"], given) if self._place else ("", None)
        query = self._query(given) if given or self._no_query is None else self._no_query
        body = None
        if declared.body:
            body = await _aside(service, bytes_sent, _shaped, declared.body, sent, bytes_sent)
        context = Context(caller.name, *head.conversation)
        path, headers = scope["path"], head.headers
        return Call(service, caller, context, path, names, headers, query, body, sent, key, place, listed)

    async def _allow(self, service: Service, caller: Key, names: Mapping[str, str]) -> None:
        """Raise `Forbidden` unless the caller has a role that may do this, and the ledgers that it concerns."""
        declared = self.declared
        if declared.roles.isdisjoint(caller.roles):
            raise Forbidden("The key has none of the roles that may do this.")
        if declared.concerns is Concerns.LEDGER:
            if not caller.may_use(names["ledger"]):
                raise Forbidden("The key was not granted this ledger.")
        elif declared.concerns is Concerns.EVERY:
            if not caller.may_use(EVERY_LEDGER):
                raise Forbidden("This needs a key that was granted every ledger.")
        elif declared.ledgers_of and not caller.may_grant(await self._concerned(service, names)):
            raise Forbidden("This needs a key that was granted every ledger that it concerns.")

    async def _concerned(self, service: Service, names: Mapping[str, str]) -> Sequence[str]:
        """Return the ledgers of what the path names, none if there is no such thing: then it will not be found."""
        assert self.declared.ledgers_of is not None
        found: Sequence[str] | None = await service.look_up(partial(self.declared.ledgers_of, names=names))
        return found or ()

    async def _admit_again(self, service: Service, head: RequestHead) -> None:
        """Raise `Unauthenticated` if the key of a request is valid no more."""
        if self.declared.roles:
            await _caller(service, head.headers)

    async def _is_admitted(self, call: Call[Any, Any], scope: Scope) -> bool:
        """Tell whether the key of a request is still valid; log it if it is not, since no answer can say so."""
        try:
            await self._admit_again(call.service, scope["head"])
        except Unauthenticated as refusal:
            actor, correlation_id, _ = call.context
            who = {"actor": actor, "correlation_id": correlation_id}
            _log.warning("denied", code=refusal.code, path=call.path, method=scope["method"], **who)
            return False
        return True

    def _page(self, path: str, given: Mapping[str, str]) -> tuple[str, Any]:
        assert self._place is not None
        listed = list_identity(path, given, self._defaults)
        cursor = given.get("cursor")
        return listed, None if cursor is None else decode_cursor(cursor, listed, self._place)

    def _query(self, given: Mapping[str, str]) -> BaseModel:
        try:
            return self.declared.query.model_validate(given)
        except ValidationError as error:
            raise InvalidShape(query_errors(error, self.declared.query)) from None

    def _parsed(self, body: bytes, head: RequestHead) -> Any:
        require_uncoded(head.headers.get(b"content-encoding", b"").decode("latin-1"))
        content_type = head.headers.get(b"content-type")
        try:
            require_json(None if content_type is None else content_type.decode("latin-1"))
        except UnsupportedMediaType as refusal:
            refusal.headers |= {"Accept": JSON, f"Accept-{self.declared.method.capitalize()}": JSON}
            raise
        return parse_json(body, self.declared.max_body_values)


async def overseer(call: Call[Any, Any]) -> Key | None:
    """Return who may see the whole installation and sent a request to a route that is for anybody, None if none did."""
    try:
        caller = await _caller(call.service, call.headers)
    except (Unauthenticated, JournalUnavailable):
        return None
    return None if OVERSEER.isdisjoint(caller.roles) or caller.granted is not None else caller


def _require_concern(declared: Declaration) -> None:
    """See to it that a route says whose ledgers it concerns, once and truly."""
    says_ledger = declared.concerns is Concerns.LEDGER
    if declared.roles and says_ledger != declared.names_ledger:
        raise AssertionError(f"{declared.operation_id} does not say whose ledgers it concerns")
    if (declared.concerns is Concerns.THING) != (declared.ledgers_of is not None):
        raise AssertionError(
            f"{declared.operation_id} does not say how the ledgers are found that it concerns"
        )


async def _caller(service: Service, headers: Mapping[bytes, bytes]) -> Key:
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Unauthenticated(headers={"WWW-Authenticate": 'Bearer realm="tallystick"'})
    caller = await service.keys.find(key.strip(" \t"))
    if caller is None:
        challenge = 'Bearer realm="tallystick", error="invalid_token"'
        raise Unauthenticated("This key is not valid.", headers={"WWW-Authenticate": challenge})
    return caller


async def _aside(service: Service, body: bytes, function: Callable[..., Judged], *arguments: Any) -> Judged:
    """Return what a function makes of a body; of a large one in another thread, since everybody else would wait."""
    if len(body) > LARGE_BODY_BYTES:
        return await service.read(function, *arguments)
    return function(*arguments)


def _shaped(model: type[BaseModel], sent: Any, body: bytes) -> BaseModel:
    require_storable(sent, body)
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise InvalidShape(body_errors(error, model)) from None


def _given(query_string: bytes) -> dict[str, str]:
    """Return the parameters of a query; raise `InvalidShape` if one is repeated or there are too many."""
    if not query_string:
        return {}
    try:
        pairs = parse_qsl(
            query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_PARAMETERS
        )
    except ValueError:
        raise InvalidShape([("?", f"at most {MAX_QUERY_PARAMETERS} parameters are taken")]) from None
    given = dict(pairs)
    if len(given) != len(pairs):
        raise InvalidShape(_repeated(pairs))
    return given


def _repeated(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, times in Counter(name for name, _ in pairs).items():
        if times > 1:
            yield f"?{escaped(name)}", f"is given {times} times; a parameter is given once"


def _tried_out(answer: Answer) -> Answer:
    """Return the answer to a dry run: it says so, and names no place where nothing is."""
    headers = {name: value for name, value in answer.headers.items() if name != "Location"}
    return answer._replace(headers={**headers, DRY_RUN: "true"})
