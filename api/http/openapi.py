"""The OpenAPI 3.1 document, made from the declarations of the routes.

FastAPI makes the schemas of bodies and answers. This module adds headers, parameters, problems and guarantees, so that
each operation shows everything that api/README.md promises for it.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any

from fastapi import Body, Path
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response

from api.http.declaration import Declaration, Returns
from api.http.fields import BY_METADATA
from api.http.models.names import PREFIX, named, renamed
from api.http.responses import JSON
from api.problem_examples import example_of
from api.problems import (
    MEDIA_TYPE,
    PRIMARY,
    BodyTooLarge,
    CursorInvalid,
    CursorMismatch,
    Forbidden,
    HeadTooLarge,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    InternalError,
    MalformedJson,
    MalformedRequest,
    PrimaryUnanswered,
    PrimaryUnreachable,
    ReadOnlyReplica,
    RequestTimeout,
    Unauthenticated,
    UnsupportedMediaType,
    status_of,
)
from domain.model.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    JournalUnavailable,
    LedgerError,
    LedgerMissing,
    LedgerMoved,
    LedgerMoving,
    LedgerNotFound,
    Overloaded,
)
from domain.placement.installations import NAME_PATTERN
from domain.release import RELEASE
from projections.errors import ProjectionBehind

_DESCRIPTION = """A double-entry ledger. Amounts are whole minor units. Every POST that moves money needs an
`Idempotency-Key`: the same request with the same key gets the same answer for ever. HEAD works on every GET path and
returns the same answer without its body."""

_NAME = re.compile(r"{(\w+)}")

_EXAMPLE_NAMES = {
    "ledger": "main",
    "address": "users:alice:wallet",
    "id": "0b2f7c1e-8d3a-5b6f-9c0d-1e2f3a4b5c6d",
    "key": "order-1",
    "name": "balances",
    "delivery": "21",
    "code": "insufficient_funds",
    "asset": "swagger-ui.css",
    "provider": "simulator",
    "size": "21",
    "log": "west",
}

HEADERS: dict[str, dict[str, Any]] = {
    "Correlation-Id": {
        "description": "The correlation id of the request: the one sent, or a new one.",
        "schema": {"type": "string", "maxLength": 128},
    },
    "traceparent": {
        "description": "The W3C trace context of the request: the one sent, or a new one.",
        "schema": {"type": "string"},
    },
    "Ledger-Position": {
        "description": "For a write: the position of the last event recorded. For a read: the position that the answer"
        " reflects. If nothing was recorded: the newest position. For a replay: the position of the first answer.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Ledger-Head": {
        "description": "The newest position of the journal. Its distance to Ledger-Position is the staleness.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Ledger-Installation": {
        "description": "In a placement: the installation that answers. It holds the ledger, if the path names one.",
        "schema": {"type": "string", "pattern": NAME_PATTERN},
    },
    "Ledger-Dead-Letters": {
        "description": "On a read of a projection that has open dead letters: `N; oldest=P`. N streams are held, each"
        " behind a dead letter. The answer shows them only up to that dead letter, whatever Ledger-Position says. P is"
        " the lowest position of these dead letters. Absent if there are none.",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*; oldest=[1-9][0-9]*$"},
    },
    "ETag": {"description": "The version of the resource, as a strong tag.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "The number of seconds to wait before asking again.",
        "schema": {"type": "integer"},
    },
    "Preference-Applied": {"description": "`respond-async`.", "schema": {"type": "string"}},
    PRIMARY: {
        "description": "Where the primary is reached, on a refusal `read_only_replica`. Absent if the"
        " server was not told.",
        "schema": {"type": "string", "format": "uri"},
    },
    "Location": {"description": "The path of the resource that was made.", "schema": {"type": "string"}},
    "Dry-Run": {
        "description": "`true` on the answer to `dry_run=true`: nothing was recorded, and there is no Location.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Last-Modified": {
        "description": "When the checkpoint was signed, to the second.",
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "`true` if the answer is the first answer again.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}


def document(declarations: Sequence[Declaration]) -> dict[str, Any]:
    """Return the OpenAPI document of all routes."""
    routes = [
        APIRoute(declared.path, methods=[declared.method], **_documentation(declared))
        for declared in declarations
    ]
    described = get_openapi(title="Tallystick", version=RELEASE, description=_DESCRIPTION, routes=routes)
    return _complete(described, declarations)


def _documentation(declared: Declaration) -> dict[str, Any]:
    """Return the arguments of FastAPI's `APIRoute` for a route."""
    extra: dict[str, Any] = {
        "x-consistency": declared.consistency.described,
        "x-spans": declared.spans.described,
        "parameters": list(_parameters(declared)),
        "security": _security(declared),
        # The roles that may call; one of them is enough.
        "x-roles": sorted(declared.roles),
    }
    if declared.roles:
        extra["x-ledgers"] = declared.concerns.described
    first, *_ = declared.returns
    return {
        "endpoint": _signature(declared),
        "name": declared.operation_id,
        "operation_id": declared.operation_id,
        "summary": declared.summary,
        "description": declared.description,
        "tags": [declared.tag],
        "status_code": first.status,
        "response_class": _response_class(first.media_type),
        "response_model": first.model,
        "response_description": first.meaning,
        "responses": {**_answers(declared), **_problems(declared)},
        "openapi_extra": extra,
    }


def refusals(declared: Declaration) -> Iterator[type[LedgerError]]:
    """Yield every refusal that a route can answer with, in the order in which they are judged."""
    yield from (MalformedRequest, HeadTooLarge, RequestTimeout)
    if not declared.is_public:
        yield Unauthenticated
    if declared.roles:
        yield Forbidden
    if declared.body:
        yield from (BodyTooLarge, UnsupportedMediaType, MalformedJson)
    if declared.needs_primary is not False or declared.awaits_any:
        yield from (ReadOnlyReplica, PrimaryUnreachable, PrimaryUnanswered)
    yield Overloaded
    if declared.is_keyed:
        yield from (IdempotencyKeyMissing, IdempotencyKeyInvalid, IdempotencyKeyReused)
    if declared.place is not None:
        yield from (CursorInvalid, CursorMismatch)
    yield InvalidRequest
    if declared.names_ledger:
        yield from (LedgerNotFound, LedgerMoved, LedgerMoving, LedgerMissing)
    yield from declared.problems
    if declared.may_lag:
        yield ProjectionBehind
    if not declared.is_public:
        yield JournalUnavailable
    yield InternalError


def _complete(document: dict[str, Any], declarations: Iterable[Declaration]) -> dict[str, Any]:
    """Add to FastAPI's document what all operations share, and the examples. Remove what this API never sends."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A key: `Authorization: Bearer tk_…`"},
        "signature": {
            "type": "apiKey",
            "in": "header",
            "name": "webhook-signature",
            "description": "The provider's signature of the body (Standard Webhooks).",
        },
    }
    components["headers"] = HEADERS
    schemas = components["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for declared in declarations:
        schemas |= _schema_of_query(declared).get("$defs", {})
    components["schemas"] = named(schemas)
    document["paths"] = renamed(document["paths"])
    document["servers"] = [{"url": "/"}]
    for declared in declarations:
        _add_examples(document["paths"][declared.path][declared.method.lower()], declared)
    for operations in document["paths"].values():
        for operation in operations.values():
            # FastAPI's own form of validation error is never sent.
            answer = operation["responses"].get("422", {}).get("content", {})
            answer.pop("application/json", None)
            if "422" in operation["responses"] and not answer:
                del operation["responses"]["422"]
    return document


def _security(declared: Declaration) -> list[dict[str, list[str]]]:
    if declared.is_public:
        return []
    return [{"signature": []}] if declared.is_signed else [{"key": []}]


def _signature(declared: Declaration) -> Callable[..., Any]:
    """Return a function with the signature that FastAPI documents: the names in the path, and the body."""

    async def documented() -> None:
        """Stand in for the endpoint, which `Router` calls instead."""

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            name,
            keyword,
            annotation=Annotated[
                str,
                Path(
                    openapi_examples={"example": {"value": _EXAMPLE_NAMES[name]}},
                    json_schema_extra={"format": "uuid"} if name == "id" else None,
                ),
            ],
        )
        for name in _NAME.findall(declared.path)
    ]
    if declared.body:
        may_be_empty = not any(field.is_required() for field in declared.body.model_fields.values())
        default = None if declared.is_body_optional and may_be_empty else inspect.Parameter.empty
        parameters.append(
            inspect.Parameter("body", keyword, annotation=Annotated[declared.body, Body()], default=default)
        )
    documented.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return documented


def _response_class(of_type: str) -> type[Response]:
    """Return a response class that FastAPI documents with this media type."""
    if of_type == JSON:
        return JSONResponse

    class Documented(Response):
        """Stand in for an answer that is not JSON."""

        media_type = of_type

    return Documented


def _parameters(declared: Declaration) -> Iterator[dict[str, Any]]:
    query = _schema_of_query(declared)
    for name, schema in query.get("properties", {}).items():
        yield _query_parameter(name, schema, required=name in query.get("required", ()))
    yield _header(
        "Correlation-Id", "Ties this request to others. A missing or invalid one is replaced by a new one."
    )
    yield _header("traceparent", "The W3C trace context. A missing or invalid one is replaced by a new one.")
    if declared.is_keyed:
        words = '1 to 255 visible ASCII characters without `/`; `"abc"` in quotes is the key `abc`.'
        pattern = r'^(?:[!#-.0-~][!-.0-~]{0,254}|"[!#-.0-\[\]-~]{1,255}")$'
        yield _header("Idempotency-Key", words, required=True, pattern=pattern, example="order-1")
    if declared.may_be_unchanged:
        yield _header(
            "If-None-Match", "ETags that the client has: 304 if the current one is among them.", example='"3"'
        )
    if declared.if_match:
        yield _header("If-Match", "The ETag that the account must have: else 412.", example='"3"')
    if declared.is_signed:
        yield _header(
            "webhook-id", "The id of the message. A message with the same id counts once.", required=True
        )
        yield _header(
            "webhook-timestamp",
            "When the message was signed, in seconds of Unix time.",
            required=True,
            pattern=r"^\d+$",
        )
    if declared.is_deferrable:
        words = "`respond-async`: accept the request durably, answer 202, and carry it out later."
        yield _header("Prefer", words, example="respond-async")
    if "min_position" in declared.query.model_fields:
        yield _header(
            "Prefer", "`wait=S`: how many seconds to wait for min_position, 0 to 30.", example="wait=5"
        )


def _schema_of_query(declared: Declaration) -> dict[str, Any]:
    return declared.query.model_json_schema(ref_template=PREFIX + "{model}")


def _query_parameter(name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """Return a parameter, given the schema of its value.

    One that may be left out has null as its default, but cannot be sent as null. One that may be empty says so beside
    its schema: the empty text is none of the values that a client would choose from.
    """
    forms = [form for form in schema.get("anyOf", ()) if form.get("type") != "null"]
    values = [form for form in forms if form not in _EMPTY]
    shape = values[0] if len(values) == 1 else schema
    may_be_empty = len(values) < len(forms) or schema.get("default") == ""
    kept = {
        key: value
        for key, value in {"examples": schema.get("examples"), **shape}.items()
        if key != "description" and value not in (None, "")
    }
    is_object = name == BY_METADATA
    return {
        # The name of an object is not sent: each of its members is a parameter of its own, `metadata.customer=42`.
        "name": "metadata" if is_object else name,
        "in": "query",
        "required": required,
        "schema": kept,
        **({"description": schema["description"]} if "description" in schema else {}),
        **({"allowEmptyValue": True} if may_be_empty else {}),
        **({"style": "form", "explode": True, "example": {"metadata.customer": "42"}} if is_object else {}),
    }


_EMPTY = ({"type": "string", "const": ""}, {"type": "string", "maxLength": 0})


def _header(name: str, words: str, *, required: bool = False, **more: str) -> dict[str, Any]:
    schema = {"type": "string", **{key: more[key] for key in more if key == "pattern"}}
    example = {key: more[key] for key in more if key == "example"}
    return {
        "name": name,
        "in": "header",
        "required": required,
        "schema": schema,
        "description": words,
        **example,
    }


def _common_headers(declared: Declaration, status: int) -> list[str]:
    names = ["Correlation-Id", "traceparent", *((PRIMARY,) if status == ReadOnlyReplica.status else ())]
    if declared.states_position and status not in (401, 403):
        names += ["Ledger-Position", *(["Ledger-Head"] if declared.states_head else [])]
    if declared.names_installation and status not in (401, 403):
        names.append("Ledger-Installation")
    return names


def _header_links(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _answers(declared: Declaration) -> dict[int | str, dict[str, Any]]:
    # If there are several media types, the first has the model. The others are texts.
    return {returned.status: _answer(declared, returned) for returned in reversed(declared.returns)}


def _answer(declared: Declaration, returned: Returns) -> dict[str, Any]:
    names = [*_common_headers(declared, returned.status), *returned.headers]
    if declared.is_keyed:
        names.append("Idempotent-Replayed")
    if "dry_run" in declared.query.model_fields:
        names.append("Dry-Run")
    if declared.projected:
        names.append("Ledger-Dead-Letters")
    answer: dict[str, Any] = {"description": returned.meaning, "headers": _header_links(names)}
    if returned.model is not None:
        answer["model"] = returned.model
    return answer


def _add_examples(operation: dict[str, Any], declared: Declaration) -> None:
    """Add the examples of a route. FastAPI would drop every null from them."""
    if declared.body:
        words = f"At most {declared.max_body_bytes} bytes and {declared.max_body_values} values."
        operation["requestBody"]["description"] = words
        operation["requestBody"]["content"][JSON]["examples"] = _example(declared.body_example)
    for returned in declared.returns:
        if returned.example is not None:
            content = operation["responses"][str(returned.status)].setdefault("content", {})
            shown = content.setdefault(returned.media_type, {"schema": {"type": "string"}})
            shown["examples"] = _example(returned.example)


def _example(value: Any) -> dict[str, Any]:
    return {"example": {"value": value}}


def _problems(declared: Declaration) -> dict[int | str, dict[str, Any]]:
    by_status: dict[int, list[str]] = {}
    for error in refusals(declared):
        by_status.setdefault(status_of(error), []).append(error.code)
    return {status: _problem_answer(declared, status, codes) for status, codes in sorted(by_status.items())}


def _problem_answer(declared: Declaration, status: int, codes: list[str]) -> dict[str, Any]:
    instance = _NAME.sub(lambda found: _EXAMPLE_NAMES[found[1]], declared.path)
    return {
        "description": "; ".join(f"`{code}`" for code in codes),
        "headers": _header_links(_common_headers(declared, status)),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": f"{PREFIX}Problem"},
                "examples": {
                    code: {"value": example_of(code, instance, _CORRELATION_ID, is_keyed=declared.is_keyed)}
                    for code in codes
                },
            }
        },
    }


_CORRELATION_ID = "8a6e0804-2bd0-4672-b79d-d97027f9071a"
