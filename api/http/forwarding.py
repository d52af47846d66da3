"""Passes a request on to the primary, part by part, and its answer back as it is.

Nothing is sent twice. If no whole answer comes, nobody here knows whether the request was carried out, and the refusal
says so.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from urllib.parse import quote

from httpx2 import (
    URL,
    AsyncByteStream,
    ConnectError,
    ConnectTimeout,
    PoolTimeout,
    Request,
    Response,
    TransportError,
)
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from api.http.consistency import MAX_WAIT_SECONDS
from api.http.request import RequestHead
from api.problems import BodyTooLarge, PrimaryUnanswered, PrimaryUnreachable
from api.service.replica import Replica

CONNECT_SECONDS = 5.0

WRITE_SILENCE_SECONDS = 20.0
"""How long the primary may be silent. It answers within 15 s even if the journal is out of reach."""

READ_SILENCE_SECONDS = WRITE_SILENCE_SECONDS + MAX_WAIT_SECONDS

PSEUDONYM = b"1.1 tallystick-replica"
"""How a replica is named in `Via` (RFC 9110 §7.6.3), by which a request that comes round is known."""

# Of one connection only (RFC 9110 §7.6.1), or said anew for this one. A replica judges itself where a browser's request
# comes from. The correlation and the trace are those that this process has logged.
_NOT_PASSED_ON = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"te", b"trailer"),
        *(b"upgrade", b"host", b"expect", b"via", b"origin", b"correlation-id", b"traceparent"),
    }
)
_NOT_PASSED_BACK = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"te", b"trailer", b"transfer-encoding"),
        *(b"upgrade", b"date"),
    }
)


async def pass_on(
    scope: Scope, receive: Receive, send: Send, replica: Replica, max_body_bytes: int, operation: str | None
) -> None:
    """Answer a request with the primary's answer. `operation` is the path that tells what became of it, if there is
    one.

    Raises `ReadOnlyReplica` if the primary's address leads to a replica, `BodyTooLarge`, `PrimaryUnreachable` if
    nothing was sent, and `PrimaryUnanswered` if no whole answer came.
    """
    head: RequestHead = scope["head"]
    if PSEUDONYM in head.headers.get(b"via", b""):
        raise replica.refusal("This replica takes another replica for its primary.")
    request = _request(scope, receive, replica.primary_url, max_body_bytes)
    try:
        response = await replica.send(request)
    except (ConnectError, ConnectTimeout, PoolTimeout):
        raise PrimaryUnreachable from None
    except TransportError:
        raise PrimaryUnanswered(operation) from None
    try:
        scope["is_forwarded"] = True  # the answer has the headers that every answer has
        await _send_back(response, send)
    except TransportError:
        raise PrimaryUnanswered(operation) from None
    finally:
        await response.aclose()


def announce_wait(scope: Scope, replica: Replica, route: str) -> None:
    """Let the primary know of a read that waits for a projection, unless that was done a moment ago.

    A projection for whose rows nobody waits lets more events collect before it advances, and a standby can notify
    nobody. So the primary gets the read too, with the caller's key: it waits there as well.
    """
    headers: Mapping[bytes, bytes] = scope["head"].headers
    is_plain = b"authorization" in headers and b"content-length" not in headers
    if replica.forwards and is_plain and replica.may_announce(route):
        replica.announce(_request(scope, _nothing, replica.primary_url, 0))


async def _nothing() -> Message:
    return {"type": "http.request"}


def operation_path(names: Mapping[str, str], key: str | None) -> str | None:
    """Return the path that tells what became of a keyed request of a ledger, None for any other."""
    if key is None or "ledger" not in names:
        return None
    return f"/v1/ledgers/{quote(names['ledger'])}/operations/{quote(key, safe='')}"


def _request(scope: Scope, receive: Receive, primary_url: str, max_body_bytes: int) -> Request:
    url = URL(primary_url)
    target = scope.get("raw_path") or quote(scope["path"]).encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    silence_seconds = READ_SILENCE_SECONDS if scope["method"] in ("GET", "HEAD") else WRITE_SILENCE_SECONDS
    timeout = {
        "connect": CONNECT_SECONDS,
        "pool": CONNECT_SECONDS,
        "write": WRITE_SILENCE_SECONDS,
        "read": silence_seconds,
    }
    return Request(
        scope["method"],
        url.copy_with(raw_path=url.raw_path.rstrip(b"/") + target),
        headers=list(_headers(scope, url)),
        stream=_Body(receive, scope["head"].headers, max_body_bytes),
        extensions={"timeout": timeout},
    )


def _headers(scope: Scope, url: URL) -> Iterator[tuple[bytes, bytes]]:
    head: RequestHead = scope["head"]
    yield b"host", url.netloc
    for name, value in scope["headers"]:
        if name not in _NOT_PASSED_ON:
            yield name, value
    given = head.headers.get(b"via")
    yield b"via", PSEUDONYM if given is None else given + b", " + PSEUDONYM
    yield b"correlation-id", head.conversation.correlation_id.encode()
    yield b"traceparent", head.conversation.traceparent.encode()


class _Body(AsyncByteStream):
    """The body of a request as it arrives."""

    def __init__(self, receive: Receive, headers: Mapping[bytes, bytes], max_bytes: int) -> None:
        self._receive = receive
        self._has_body = b"content-length" in headers or b"transfer-encoding" in headers
        self._max_bytes = max_bytes
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > max_bytes:
            raise self._too_large

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        while self._has_body:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > self._max_bytes:
                raise self._too_large
            if part:
                yield part
            self._has_body = message.get("more_body", False)

    @property
    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The body is larger than {self._max_bytes} bytes, which is what this route takes."
        )


async def _send_back(response: Response, send: Send) -> None:
    headers = [(name.lower(), value) for name, value in response.headers.raw]
    kept = [(name, value) for name, value in headers if name not in _NOT_PASSED_BACK]
    await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
    async for part in response.aiter_raw():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
