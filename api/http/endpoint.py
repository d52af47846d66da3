"""Endpoints: judge a request by its route's declaration, in the order of api/README.md, Problems, and serve it.

Caller, load, message and shape are judged here, the same way for every route. The domain judges the rest: ledger,
idempotency key, named resources, version, rules.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic
from types import GenericAlias
from typing import Any, Concatenate, ParamSpec
from urllib.parse import parse_qsl

from msgspec.structs import replace
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from api.http.body import (
    LARGE_BODY_BYTES,
    escaped,
    parse_json,
    read_body,
    read_usual,
    require_json,
    require_storable,
    require_uncoded,
)
from api.http.call import Call, Handler
from api.http.cursors import decode_cursor, list_identity
from api.http.declaration import OVERSEER, Concerns, Declaration
from api.http.fields import body_errors, query_errors
from api.http.idempotency import idempotency_key
from api.http.replicas.copies import (
    DENIALS,
    answer_from_copy,
    is_answered_by_primary,
    is_passed_on,
    noting_head,
    operation_of,
    require_copied,
)
from api.http.replicas.forwarding import pass_on
from api.http.replicas.placed_copies import asked_of_copies
from api.http.request import SESSION, RequestHead
from api.http.responses import (
    DRY_RUN,
    INSTALLATION,
    JSON,
    Answer,
    Streamed,
    unless_unchanged,
)
from api.http.spanning.asking import Told, ask_all
from api.http.spanning.moved_ledgers import serve_moved
from api.http.spanning.naming import chosen, places_of
from api.http.spanning.spans import Spans
from api.problems import Forbidden, InvalidShape, Unauthenticated, UnsupportedMediaType
from api.security.keys import EVERY_LEDGER, NOBODY, Key
from api.service.body_room import RoomShare
from api.service.installations import Installations
from api.service.key_cache import KNOWN_FOR_SECONDS
from api.service.replica import Replica
from api.service.service import Service
from domain.model.errors import JournalUnavailable, LedgerError
from domain.model.events import Context

Declared = ParamSpec("Declared")

MAX_QUERY_PARAMETERS = 100
_BEGINNINGS = re.compile(r"(?:^|,)[ \t]*(?:Bearer|Basic|Digest|Negotiate)(?=[ \t,]|$)", re.IGNORECASE)


class Endpoint:
    """A route of the service. Its declaration decides how it is served."""

    def __init__(self, declared: Declaration) -> None:
        _require_stated_ledgers(declared)
        _require_stated_installations(declared)
        self.declared = declared
        self.path = declared.path
        self.path_regex, *_ = compile_path(declared.path)
        self._handle: Handler = declared.handler
        self._handle_from_copy: Handler = noting_head(declared.handler)
        self._names_ledger = declared.names_ledger
        self._takes_installation = declared.takes_installation
        self._place = TypeAdapter(declared.place) if declared.place is not None else None
        self._places: TypeAdapter[Any] | None = self._place
        if declared.spans_list:
            of_each: Any = GenericAlias(dict, (str, declared.place)) | declared.place
            self._places = TypeAdapter(of_each)
        fields = declared.query.model_fields
        asks = any(field.is_required() for field in fields.values())
        self._no_query = None if asks else declared.query()
        self._defaults = {
            field.alias or name: "" if field.default is None else str(field.default)
            for name, field in fields.items()
        }

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that matches path and method.

        A key that ends during the request is shown nothing more: the result of a long read is not sent, and a stream
        stops. A write that was carried out is answered all the same.

        A replica passes on to the primary what a copy may not answer, if it is told to.
        """
        replica: Replica | None = scope["state"]["service"].replica
        if replica is not None and is_passed_on(self.declared, scope, replica):
            await self._pass_on(scope, receive, send, replica)
            return
        try:
            answer = await self._answer(scope, receive, send)
            if answer is not None:
                await answer.send(send)
        finally:
            for name in ("place", "place of answer"):
                if name in scope:
                    scope[name].leave()

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, replica: Replica) -> None:
        declared = self.declared
        try:
            operation = operation_of(declared, scope)
            await pass_on(scope, receive, send, replica, declared.max_body_bytes, operation)
        except LedgerError:
            if declared.roles:
                # Whoever this process knows is told how far the copy is. The refusal is the same for everybody.
                with suppress(Unauthenticated, Forbidden, JournalUnavailable):
                    caller = await _caller(scope["state"]["service"], scope["head"].headers)
                    self._allow(caller, scope["path_params"])
                    scope["caller"] = caller
            raise

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Answer | None:
        """Return the answer to a request, or None if it was sent part by part, or the primary's was."""
        began = monotonic()
        call = await self._judge(scope, receive)
        is_dry_run = getattr(call.query, "dry_run", False)
        if is_dry_run:
            scope["is_dry_run"] = True  # read when a refusal is answered
        replica = call.service.replica
        is_placed = "service" in scope
        if replica is not None:
            serve = partial(self._serve_where_placed, scope=scope) if is_placed else self._serve
            try:
                answer = await answer_from_copy(self.declared, call, scope, replica, serve)
            except DENIALS:
                if await is_answered_by_primary(scope, send, replica):
                    return None
                raise
        else:
            answer = await (self._serve_where_placed(call, scope) if is_placed else self._serve(call))
        if "place" in scope:
            scope["place"].end_work()
        if isinstance(answer, Streamed):
            if scope["method"] == "HEAD":
                await answer.send_without_parts(send)
            else:
                self._keep_room(call, scope, answer.part_bytes)
                await answer.send_while_wanted(receive, send, partial(self._is_admitted, call, scope))
            return None
        if self.declared.may_be_unchanged:
            answer = unless_unchanged(answer, call.headers.get(b"if-none-match"))
        if self.declared.method == "GET":
            if monotonic() - began > KNOWN_FOR_SECONDS:
                await self._admit_again(call.service, scope["head"])
            self._keep_room(call, scope, len(answer.body))
        return _dry_run_answer(answer) if is_dry_run else answer

    def _serve(self, call: Call[Any, Any]) -> Awaitable[Answer | Streamed]:
        """Return the answer of the handler, in the positions that the ledger shows if it has moved."""
        ledger = call.path_params.get("ledger")
        handle = self._handle if call.service.replica is None else self._handle_from_copy
        if ledger is None or not call.service.may_have_moved(ledger):
            return handle(call)
        return serve_moved(call, ledger, handle)

    async def _serve_where_placed(self, call: Call[Any, Any], scope: Scope) -> Answer | Streamed:
        """Return the answer of the installation that holds the ledger, which may have moved a moment ago."""

        async def serve(service: Service) -> Answer | Streamed:
            scope["service"] = service  # read when a refusal is answered
            return await self._serve(call if service is call.service else replace(call, service=service))

        if not self._names_ledger:
            answer = await serve(call.service)
        elif call.service.replica is None:
            answer = await call.installations.asked(call.ledger, call.service, serve)
        else:
            answer = await asked_of_copies(call, scope, serve)
        return answer._replace(headers={**answer.headers, INSTALLATION: scope["service"].name})

    def _keep_room(self, call: Call[Any, Any], scope: Scope, size: int) -> None:
        """Take room for what waits until the client reads it; raise `Overloaded` if too much does."""
        if self.declared.roles and size > LARGE_BODY_BYTES:
            scope["place of answer"] = RoomShare(call.service.answers, call.caller.id)
            scope["place of answer"].grow(size)

    async def _judge(self, scope: Scope, receive: Receive) -> Call[Any, Any]:
        """Return the request as judged, or raise the first refusal that applies, in the order of api/README.md,
        Problems."""
        declared = self.declared
        head: RequestHead = scope["head"]
        service: Service = scope["state"]["service"]
        installations: Installations = scope["state"]["installations"]
        names: dict[str, str] = scope["path_params"]
        caller = NOBODY
        began = monotonic()
        if declared.roles and not (declared.may_be_public and service.metrics_are_public):
            # Set before the caller is allowed, so that a denial is logged with its actor.
            scope["caller"] = caller = await _caller(service, head.headers)
            self._allow(caller, names)
            if declared.ledgers_of:
                service = await self._allow_thing(installations, caller, names)
        if service.replica is not None:
            require_copied(declared, scope, service.replica)
        if installations.is_placement:
            if self._names_ledger:
                service = await installations.of(names["ledger"])
            if declared.spans in (Spans.LEDGER, Spans.FOUND, Spans.HOME):
                scope["service"] = service
        if declared.writes:
            service.writer.require_room()
        if declared.is_signed:
            service.signatures.require_known(names["provider"])
        bytes_sent, sent, body = b"", None, None
        if declared.body:
            make_room = partial(_make_room, scope, caller)
            bytes_sent = await read_body(receive, head.headers, declared.max_body_bytes, make_room)
            if "place" in scope:
                await scope["place"].begin_work()
        if monotonic() - began > KNOWN_FOR_SECONDS:
            await self._admit_again(service, head)
        if declared.is_signed:
            caller = service.signatures.signatory(names["provider"], head.headers, bytes_sent)
            scope["caller"] = caller
        # A large body is judged in another thread, so that other requests need not wait.
        is_large = len(bytes_sent) > LARGE_BODY_BYTES
        if declared.body:
            of_body = bytes_sent, head
            sent, body = await service.read(self._parsed, *of_body) if is_large else self._parsed(*of_body)
        key = idempotency_key(head.headers.get(b"idempotency-key")) if declared.is_keyed else ""
        given = _query_parameters(scope["query_string"])
        listed, place = self._page(scope["path"], given, installations) if self._place else ("", None)
        query = self._query(given) if given or self._no_query is None else self._no_query
        if self._takes_installation:
            service = chosen(installations, vars(query)["installation"], declared.spans)
            if installations.is_placement and declared.spans is not Spans.ALL:
                scope["service"] = service
        if declared.body and body is None:
            to_shape = declared.body, sent, bytes_sent
            body = await service.read(_shaped, *to_shape) if is_large else _shaped(*to_shape)
        context = Context(caller.name, *head.conversation)
        return Call(
            service,
            installations,
            caller,
            context,
            scope["path"],
            names,
            head.headers,
            query,
            body,
            sent,
            key,
            place,
            listed,
        )

    def _allow(self, caller: Key, names: Mapping[str, str]) -> None:
        """Raise `Forbidden` unless the caller has one of the roles, and the ledgers that the request names."""
        declared = self.declared
        if declared.roles.isdisjoint(caller.roles):
            raise Forbidden("The key has none of the roles that may do this.")
        if declared.concerns is Concerns.LEDGER:
            if not caller.may_use(names["ledger"]):
                raise Forbidden("The key was not granted this ledger.")
        elif declared.concerns is Concerns.EVERY and not caller.may_use(EVERY_LEDGER):
            raise Forbidden("This needs a key that was granted every ledger.")

    async def _allow_thing(
        self, installations: Installations, caller: Key, names: Mapping[str, str]
    ) -> Service:
        """Return the installation that has the resource in the path, home if none has it.

        Raises `Forbidden` unless the caller has its ledgers. One that does not exist concerns no ledger: the route then
        answers 404. Raises what an installation was refused with that could not answer, if no other has the resource.
        """
        assert self.declared.ledgers_of is not None
        look = partial(self.declared.ledgers_of, names=names)
        if installations.is_placement and self.declared.spans is Spans.FOUND:
            told = await ask_all([each for _, each in installations.all()], lambda each: each.look_up(look))
        else:
            told = Told({installations.home.name: await installations.home.look_up(look)}, {})
        name, found = next(
            ((name, of) for name, of in told.said.items() if of is not None), (installations.home.name, None)
        )
        if found is None and told.refusals:
            raise next(iter(told.refusals.values()))
        if not caller.may_grant(found or ()):
            raise Forbidden("This needs a key that was granted every ledger that it concerns.")
        return installations.named(name)

    async def _admit_again(self, service: Service, head: RequestHead) -> None:
        """Raise `Unauthenticated` if the key of a request is no longer valid."""
        if self.declared.roles:
            await _caller(service, head.headers)

    async def _is_admitted(self, call: Call[Any, Any], scope: Scope) -> bool:
        """Tell whether the key of a request is still valid. If not, log it, since the answer is already on its way."""
        try:
            await self._admit_again(call.service, scope["head"])
        except Unauthenticated as refusal:
            actor, correlation_id, _ = call.context
            method, facts = scope["method"], {"code": refusal.code, "actor": actor}
            details = {"path": call.path, "method": method, "correlation_id": correlation_id}
            call.service.log.note("denied", facts, f"{method} {self.path}", **details)
            return False
        return True

    def _page(self, path: str, given: Mapping[str, str], installations: Installations) -> tuple[str, Any]:
        """Return what identifies the list, and the place in it. A list that spans has one place or one for each."""
        place = self._places if installations.is_placement else self._place
        assert place is not None
        listed = list_identity(path, given, self._defaults)
        cursor = given.get("cursor")
        found = None if cursor is None else decode_cursor(cursor, listed, place)
        if found is None or not (installations.is_placement and self.declared.spans_list):
            return listed, found
        return listed, places_of(found, installations)

    def _query(self, given: Mapping[str, str]) -> BaseModel:
        try:
            return self.declared.query.model_validate(given)
        except ValidationError as error:
            raise InvalidShape(query_errors(error, self.declared.query)) from None

    def _parsed(self, body: bytes, head: RequestHead) -> tuple[Any, Any]:
        """Return the JSON value of a body, and the body made of it, which is None if its model must judge it."""
        declared = self.declared
        if declared.is_body_optional and not body:
            return {}, None
        self._require_media(head)
        usual = None
        if declared.usual_body is not None:
            usual = read_usual(body, declared.usual_body, declared.max_body_values)
        return usual or (parse_json(body, declared.max_body_values), None)

    def _require_media(self, head: RequestHead) -> None:
        """Raise `UnsupportedMediaType` unless the body is JSON, and not compressed."""
        coding = head.headers.get(b"content-encoding")
        if coding is not None:
            require_uncoded(coding.decode("latin-1"))
        content_type = head.headers.get(b"content-type")
        try:
            require_json(None if content_type is None else content_type.decode("latin-1"))
        except UnsupportedMediaType as refusal:
            refusal.headers |= {"Accept": JSON, f"Accept-{self.declared.method.capitalize()}": JSON}
            raise


def _beside_handler(
    declare: Callable[Concatenate[Handler, Declared], Declaration],
) -> Callable[Declared, Callable[[Handler], Endpoint]]:
    """Return a decorator that takes what a declaration takes, and makes the handler below it an endpoint."""

    def endpoint(*words: Declared.args, **more: Declared.kwargs) -> Callable[[Handler], Endpoint]:
        return lambda handler: Endpoint(declare(handler, *words, **more))

    return endpoint


endpoint = _beside_handler(Declaration)
"""Makes the handler below it an endpoint: `@endpoint("GET", "/v1/…", summary="…", …)`. `Declaration` says what it
takes."""


async def overseer(call: Call[Any, Any]) -> Key | None:
    """Return the caller of a public route if it may see the whole installation, else None."""
    try:
        caller = await _caller(call.service, call.headers)
    except (Unauthenticated, JournalUnavailable):
        return None
    return None if OVERSEER.isdisjoint(caller.roles) or caller.granted is not None else caller


def _make_room(scope: Scope, caller: Key, size: int) -> None:
    """Take room for a large body; raise `Overloaded` if there is too little."""
    scope.setdefault("place", RoomShare(scope["state"]["service"].room, caller.id)).grow(size)


def _require_stated_ledgers(declared: Declaration) -> None:
    """Check that a declaration says which ledgers the route concerns, and says it consistently."""
    says_ledger = declared.concerns is Concerns.LEDGER
    if declared.roles and says_ledger != declared.names_ledger:
        raise AssertionError(f"{declared.operation_id} does not say which ledgers it concerns")
    if (declared.concerns is Concerns.THING) != (declared.ledgers_of is not None):
        raise AssertionError(f"{declared.operation_id} does not say how to find the ledgers that it concerns")


def _require_stated_installations(declared: Declaration) -> None:
    """Check that a declaration says which installations answer the route, and says it consistently."""
    if (declared.spans is Spans.LEDGER) != declared.names_ledger:
        raise AssertionError(f"{declared.operation_id} does not say which installations answer it")
    if declared.takes_installation != ("installation" in declared.query.model_fields):
        raise AssertionError(f"{declared.operation_id} does not let the query name an installation")
    if declared.spans is Spans.FOUND and declared.ledgers_of is None:
        raise AssertionError(f"{declared.operation_id} does not say how to find the installation")


async def _caller(service: Service, headers: Mapping[bytes, bytes]) -> Key:
    if SESSION in headers:
        caller = await service.keys.find_session(headers[SESSION].decode())
        if caller is None:
            raise Unauthenticated("The session has ended.")
        return caller
    given = headers.get(b"authorization", b"").decode("latin-1")
    scheme, _, key = given.partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Unauthenticated(_given_often(given), headers={"WWW-Authenticate": 'Bearer realm="tallystick"'})
    caller = await service.keys.find(key.strip(" \t"))
    if caller is None:
        challenge = 'Bearer realm="tallystick", error="invalid_token"'
        words = _given_often(given) or "This key is not valid."
        raise Unauthenticated(words, headers={"WWW-Authenticate": challenge})
    return caller


def _given_often(authorization: str) -> str | None:
    """Return the words for an Authorization header that was given more than once, None for any other.

    Its values arrive joined by a comma (RFC 9110 §5.3). Each begins with its scheme.
    """
    times = len(_BEGINNINGS.findall(authorization))
    return f"The Authorization header was given {times} times; give it once." if times > 1 else None


def _shaped(model: type[BaseModel], sent: Any, body: bytes) -> BaseModel:
    require_storable(sent, body)
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise InvalidShape(body_errors(error, model)) from None


def _query_parameters(query_string: bytes) -> dict[str, str]:
    """Return the query parameters; raise `InvalidShape` if there are too many, or if one is repeated."""
    if not query_string:
        return {}
    try:
        pairs = parse_qsl(
            query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_PARAMETERS
        )
    except ValueError:
        raise InvalidShape([("?", f"has more than {MAX_QUERY_PARAMETERS} parameters")]) from None
    given = dict(pairs)
    if len(given) != len(pairs):
        raise InvalidShape(_repeated(pairs))
    return given


def _repeated(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, times in Counter(name for name, _ in pairs).items():
        if times > 1:
            yield f"?{escaped(name)}", f"is given {times} times; give it once"


def _dry_run_answer(answer: Answer) -> Answer:
    """Return the answer to a dry run. It has the Dry-Run header, and no Location since nothing was made."""
    headers = {name: value for name, value in answer.headers.items() if name != "Location"}
    return answer._replace(headers={**headers, DRY_RUN: "true"})
