"""Every refusal as a problem (RFC 9457): one code for each, in one registry.

The domain's refusals come from `domain.model.errors` and `projections.errors`; their base class decides the status. The
refusals that only HTTP has are defined here in the same way: the docstring is the text that a caller reads. A problem
repeats nothing from the request except its path and, for shape errors, names of members.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar, NamedTuple

from api.problem_facts import FACTS, Fact, KeyUse
from domain.model.errors import (
    Conflict,
    IdempotencyKeyReused,
    Invalid,
    InvalidRequest,
    JournalUnavailable,
    LedgerError,
    LedgerMissing,
    LedgerMoved,
    LedgerMoving,
    NotFound,
    OperationUnknown,
    Overloaded,
    RuleRefusal,
    Unavailable,
    UnbalancedTransaction,
    VersionMismatch,
)
from projections.errors import ProjectionBehind

MEDIA_TYPE = "application/problem+json"

PRIMARY = "Ledger-Primary"
"""The header of a replica's refusal that names the primary's address."""

MAX_ERRORS = 100
"""How many errors an answer names. A client corrects these and asks again; more would make the answer endless."""


class HttpRefusal(LedgerError):
    """The request was refused before it reached the ledger."""

    status: ClassVar[int]

    def __init__(self, detail: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = dict(headers or {})


class MalformedJson(HttpRefusal):
    """The body is not one well-formed JSON value in UTF-8, or a member appears twice in one object."""

    code = "malformed_json"
    status = 400


class IdempotencyKeyMissing(HttpRefusal):
    """This request moves or reserves money, so it needs an Idempotency-Key."""

    code = "idempotency_key_missing"
    status = 400


class IdempotencyKeyInvalid(HttpRefusal):
    """An Idempotency-Key is 1 to 255 visible ASCII characters without "/", given once."""

    code = "idempotency_key_invalid"
    status = 400


class CursorInvalid(HttpRefusal):
    """This list did not give out this cursor. Start again without a cursor."""

    code = "cursor_invalid"
    status = 400


class CursorMismatch(HttpRefusal):
    """The cursor belongs to other filters or another order. Send the filters and order that it was given out with."""

    code = "cursor_mismatch"
    status = 400


class Unauthenticated(HttpRefusal):
    """The request needs a valid key: Authorization: Bearer tk_…"""

    code = "unauthenticated"
    status = 401


class Forbidden(HttpRefusal):
    """The key is valid, but it lacks the role or was not granted the ledger."""

    code = "forbidden"
    status = 403


class PathNotFound(HttpRefusal):
    """There is nothing at this path."""

    code = "not_found"
    status = 404


class MethodNotAllowed(HttpRefusal):
    """The path exists, but not with this method. The Allow header names the methods that it has."""

    code = "method_not_allowed"
    status = 405


class BootstrapKeyFixed(HttpRefusal):
    """The bootstrap key is configured where the service is started, so it cannot be rotated here. Restart the service
    with another TALLYSTICK_BOOTSTRAP_KEY. If none is configured, make other keys and revoke this one."""

    code = "bootstrap_key_fixed"
    status = 409


class KeyExists(HttpRefusal):
    """A valid key already has this name, or a name that looks the same. Names of keys must differ, since the name is
    recorded as the actor. Choose another name, or rotate or revoke that key."""

    code = "key_exists"
    status = 409


class RequestTimeout(HttpRefusal):
    """The request did not arrive in time: its head and its body have 10 seconds each. Nothing was recorded."""

    code = "request_timeout"
    status = 408


class BodyTooLarge(HttpRefusal):
    """The body is too large for this route, or holds too many values. The OpenAPI document says how much each route
    takes; no route takes more than 16 MiB."""

    code = "body_too_large"
    status = 413


class UnsupportedMediaType(HttpRefusal):
    """Bodies are JSON in UTF-8, not compressed. Send Content-Type: application/json and no Content-Encoding."""

    code = "unsupported_media_type"
    status = 415


class HeadTooLarge(HttpRefusal):
    """The request line and headers may have at most 32 KiB and 100 fields. The trailers of a body have the same
    limits."""

    code = "head_too_large"
    status = 431


class MalformedRequest(HttpRefusal):
    """This is not a well-formed HTTP/1.1 request. The connection is closed, since nobody can tell where the next
    request begins."""

    code = "malformed_request"
    status = 400


class ReadOnlyReplica(HttpRefusal):
    """This server reads a copy of the ledger. It takes no writes, and does not answer what only the primary can vouch
    for. Nothing was recorded. Send the request to the primary: `primary` is its address, if this server was told."""

    code = "read_only_replica"
    # RFC 9110 §15.5.20: this server can give no authoritative answer, and the request may be sent to another. A 503
    # would have clients try here again, in vain.
    status = 421

    def __init__(self, detail: str | None = None, primary: str = "") -> None:
        """`primary` is the address of the primary, empty if this server was not told."""
        super().__init__(detail, {PRIMARY: primary} if primary else None)
        if primary:
            self.details = {"primary": primary}


class PrimaryUnreachable(HttpRefusal):
    """This server reads a copy and passes this request on to the primary, but cannot connect to it. Nothing was
    sent."""

    code = "primary_unreachable"
    status = 503

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class PrimaryUnanswered(HttpRefusal):
    """This server reads a copy and has passed the request on to the primary, and no whole answer came back. It may have
    been carried out. If the request has a key, `operation` tells, and the same request with the same key is safe."""

    code = "primary_unanswered"
    status = 504

    def __init__(self, operation: str | None = None) -> None:
        """`operation` is the path that tells what became of a keyed request, None if the request has no key."""
        super().__init__()
        if operation is not None:
            self.details = {"operation": operation, "retry": "safe"}


class InternalError(HttpRefusal):
    """The server failed. The correlation id finds the fault in the logs. The same idempotency key can be sent again."""

    code = "internal_error"
    status = 500


_FAMILIES: tuple[tuple[type[LedgerError], int], ...] = (
    (NotFound, 404),
    (Invalid, 422),
    (VersionMismatch, 412),
    (Conflict, 409),
    (RuleRefusal, 409),
    (Unavailable, 503),
    (LedgerMoved, 421),
)


class ProblemType(NamedTuple):
    """One kind of problem: its code, its status, a short title and its meaning.

    `key` says what becomes of the idempotency key of a refused request, `remedy` what the sender can do.
    """

    code: str
    status: int
    title: str
    meaning: str
    key: KeyUse
    remedy: str


def status_of(error: type[LedgerError]) -> int:
    """Return the status that answers a refusal."""
    if issubclass(error, HttpRefusal):
        return error.status
    return next(status for family, status in _FAMILIES if issubclass(error, family))


# Stands in until the code has its line, which a test demands.
_WITHOUT_LINE = Fact("open", "")


def _codes(family: type[LedgerError]) -> Iterator[tuple[str, ProblemType]]:
    for error in family.__subclasses__():
        if code := vars(error).get("code"):
            title = code.replace("_", " ").capitalize().replace("json", "JSON")
            fact = FACTS.get(code, _WITHOUT_LINE)
            yield code, ProblemType(code, status_of(error), title, error.explanation(), *fact)
        yield from _codes(error)


PROBLEM_TYPES: dict[str, ProblemType] = dict(sorted(_codes(LedgerError)))
"""All kinds of problem, by code."""


class InvalidShape(InvalidRequest):
    """The request does not have the shape that api/README.md asks for. `errors` names the first `MAX_ERRORS` places."""

    def __init__(self, errors: Iterable[tuple[str, str]]) -> None:
        LedgerError.__init__(self, InvalidRequest.explanation())
        first = islice(errors, MAX_ERRORS)
        self.errors = [{"pointer": pointer, "detail": detail} for pointer, detail in first]


def problem(
    code: str, detail: str, instance: str, correlation_id: str, members: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the members of a problem."""
    kind = PROBLEM_TYPES[code]
    return {
        "type": f"/problems/{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "correlation_id": correlation_id,
        **(members or {}),
    }


def problem_of(error: LedgerError, instance: str, correlation_id: str) -> dict[str, Any]:
    """Return the problem that answers a refused request."""
    return problem(error.code, error.detail, instance, correlation_id, _members(error))


def headers_of(error: LedgerError) -> dict[str, str]:
    """Return the headers that belong to a refusal."""
    if isinstance(error, HttpRefusal):
        return error.headers
    if isinstance(error, ProjectionBehind) and (error.dead_letter or error.state != "running"):
        return {"Retry-After": "5"}  # somebody has to act first
    if isinstance(error, LedgerMissing):
        return {"Retry-After": "5"}  # somebody has to act first
    if isinstance(error, ProjectionBehind | Overloaded | LedgerMoving | JournalUnavailable):
        return {"Retry-After": "1"}
    return {}


def _members(error: LedgerError) -> dict[str, Any]:
    match error:
        case InvalidRequest():
            return {"errors": error.errors, **error.details}
        case UnbalancedTransaction():
            return {"errors": [{"pointer": "/entries", "detail": error.detail}], **error.details}
        case IdempotencyKeyReused():
            return {"errors": [{"pointer": "Idempotency-Key", "detail": error.detail}]}
        case ProjectionBehind():
            where = {"position": error.position, "head": error.head, "state": error.state}
            return {**where, "dead_letter": error.dead_letter} if error.dead_letter else where
        case JournalUnavailable():
            return {"reason": error.reason}
        case OperationUnknown():
            return {"retry": "safe", **error.details}
    return error.details
