"""Passes a request on to the primary, part by part, and its answer back as it is.

Nothing is sent twice. If no whole answer comes, nobody here knows whether the request was carried out, and the refusal
says so.
"""

import asyncio
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

from api.http.body import BODY_TIMEOUT_SECONDS, announced_length, too_large, too_late
from api.http.consistency import MAX_WAIT_SECONDS
from api.http.request import RequestHead
from api.problems import PrimaryUnanswered, PrimaryUnreachable, ReadOnlyReplica
from api.service.replica import ASK_SECONDS, Replica

CONNECT_SECONDS = 5.0

WRITE_SILENCE_SECONDS = 20.0
"""How long the primary may be silent. It answers within 15 s even if the journal is out of reach."""

READ_SILENCE_SECONDS = WRITE_SILENCE_SECONDS + MAX_WAIT_SECONDS

HELD_BYTES = 64 * 1024
"""An answer up to this size is passed back once the whole of it is here, and one that breaks off is told as none. Of a
larger one, the caller sees that it breaks off."""

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
        *(b"upgrade", b"date", b"server"),
    }
)

# They say where the body ends, so nothing can keep them to one connection.
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


async def pass_on(
    scope: Scope, receive: Receive, send: Send, replica: Replica, max_body_bytes: int, operation: str | None
) -> None:
    """Answer a request with the primary's answer. `operation` is the path that tells what became of it, if there is
    one.

    Raises `ReadOnlyReplica` if the primary's address leads to a replica, what `read_body` raises of a body,
    `PrimaryUnreachable` if nothing was sent, and `PrimaryUnanswered` if no whole answer came.
    """
    if has_come_round(scope):
        raise _refusal_of_round(scope, replica)
    request = _request(scope, receive, replica.primary_url, max_body_bytes)
    try:
        response = await replica.send(request)
    except (ConnectError, ConnectTimeout, PoolTimeout):
        raise PrimaryUnreachable from None
    except TransportError:
        raise PrimaryUnanswered(operation) from None
    try:
        await _send_back(response, scope, send, replica)
    except TransportError:
        raise PrimaryUnanswered(operation) from None
    finally:
        await response.aclose()


async def ask_primary(scope: Scope, send: Send, replica: Replica) -> bool:
    """Answer a read that the copy denies with the primary's answer; tell whether it has one.

    It has none if it is out of reach, is silent, cannot say, or is a replica, and if too many others ask it. Nothing
    was sent to the caller then. Raises `PrimaryUnanswered` if an answer breaks off that the caller has seen a part of.
    """
    if has_come_round(scope):
        return False
    request = _request(scope, _nothing, replica.primary_url, 0, ASK_SECONDS)
    try:
        async with replica.asking():
            response = await replica.send(request)
            try:
                if response.status_code >= 500 or response.status_code == ReadOnlyReplica.status:
                    return False
                await _send_back(response, scope, send, replica)
            finally:
                await response.aclose()
    except (TransportError, TimeoutError):
        if "is_forwarded" in scope:
            raise PrimaryUnanswered from None
        return False
    return True


def has_come_round(scope: Scope) -> bool:
    """Tell whether a replica has passed the request on."""
    head: RequestHead = scope["head"]
    return PSEUDONYM in head.headers.get(b"via", b"")


def _refusal_of_round(scope: Scope, replica: Replica) -> ReadOnlyReplica:
    """Return the refusal of a request that another replica, or this one, has passed on to this one."""
    asked_at: bytes = scope["head"].headers.get(b"host", b"")
    if asked_at.lower() != URL(replica.primary_url).netloc.lower():
        return replica.refusal("This replica takes another replica for its primary.")
    # It names no primary: whoever goes there comes here.
    return ReadOnlyReplica(
        f"TALLYSTICK_PRIMARY_URL of this replica, {replica.primary_url}, leads back to the replica itself."
    )


def announce_wait(scope: Scope, replica: Replica, route: str) -> None:
    """Let the primary know of a read that waits for a projection, unless that was done a moment ago.

    A projection for whose rows nobody waits lets more events collect before it advances, and a standby can notify
    nobody. So the primary gets the read too, with the caller's key: it waits there as well.
    """
    headers: Mapping[bytes, bytes] = scope["head"].headers
    is_plain = b"authorization" in headers and b"content-length" not in headers
    if replica.forwards and is_plain and replica.may_announce(route):
        replica.announce(route, _request(scope, _nothing, replica.primary_url, 0))


async def _nothing() -> Message:
    return {"type": "http.request"}


def operation_path(names: Mapping[str, str], key: str | None) -> str | None:
    """Return the path that tells what became of a keyed request of a ledger, None for any other."""
    if key is None or "ledger" not in names:
        return None
    return f"/v1/ledgers/{quote(names['ledger'])}/operations/{quote(key, safe='')}"


def _request(
    scope: Scope,
    receive: Receive,
    primary_url: str,
    max_body_bytes: int,
    silence_seconds: float | None = None,
) -> Request:
    """Return the request as it is passed on. The primary may be silent as long as its routes are, if not said."""
    url = URL(primary_url)
    target = scope.get("raw_path") or quote(scope["path"]).encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    if silence_seconds is None:
        is_read = scope["method"] in ("GET", "HEAD")
        silence_seconds = READ_SILENCE_SECONDS if is_read else WRITE_SILENCE_SECONDS
    timeout = {
        "connect": CONNECT_SECONDS,
        "pool": CONNECT_SECONDS,
        "write": WRITE_SILENCE_SECONDS,
        "read": silence_seconds,
    }
    return Request(
        scope["method"],
        url,
        headers=list(_headers(scope, url)),
        stream=_Body(receive, scope["head"].headers, max_body_bytes),
        # As it was sent: a URL would lose its segments "." and "..", and lead to another route than was judged here.
        extensions={"timeout": timeout, "target": url.raw_path.rstrip(b"/") + target},
    )


def _headers(scope: Scope, url: URL) -> Iterator[tuple[bytes, bytes]]:
    head: RequestHead = scope["head"]
    left_out = _NOT_PASSED_ON | _named_in(head.headers.get(b"connection", b""))
    yield b"host", url.netloc
    for name, value in scope["headers"]:
        if name not in left_out:
            yield name, value.strip(b" \t")  # white space around a value is no part of it (RFC 9110 §5.5)
    given = head.headers.get(b"via")
    yield b"via", PSEUDONYM if given is None else given.strip(b" \t") + b", " + PSEUDONYM
    yield b"correlation-id", head.conversation.correlation_id.encode()
    yield b"traceparent", head.conversation.traceparent.encode()


def _named_in(connection: bytes) -> frozenset[bytes]:
    """Return the headers that are of one connection only because its `Connection` header names them."""
    return frozenset(name.strip(b" \t").lower() for name in connection.split(b",")) - _FRAMING


class _Body(AsyncByteStream):
    """The body of a request as it arrives."""

    def __init__(self, receive: Receive, headers: Mapping[bytes, bytes], max_bytes: int) -> None:
        self._receive = receive
        self._has_body = b"content-length" in headers or b"transfer-encoding" in headers
        self._max_bytes = max_bytes
        if announced_length(headers) > max_bytes:
            raise too_large(max_bytes)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, until = 0, asyncio.get_running_loop().time() + BODY_TIMEOUT_SECONDS
        while self._has_body:
            try:
                async with asyncio.timeout_at(until):
                    message = await self._receive()
            except TimeoutError:
                raise too_late() from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > self._max_bytes:
                raise too_large(self._max_bytes)
            if part:
                yield part
            self._has_body = message.get("more_body", False)


async def _send_back(response: Response, scope: Scope, send: Send, replica: Replica) -> None:
    headers = [(name.lower(), value) for name, value in response.headers.raw]
    left_out = _NOT_PASSED_BACK | _named_in(response.headers.get("connection", "").encode("latin-1"))
    kept = [(name, value) for name, value in headers if name not in left_out]
    parts = response.aiter_raw()
    held = await _held(parts)
    is_refusal = response.status_code == ReadOnlyReplica.status
    replica.note_who_answers(is_replica=is_refusal and ReadOnlyReplica.code.encode() in held)
    scope["is_forwarded"] = True  # the answer has the headers that every answer has
    await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
    if len(held) > HELD_BYTES:
        await send({"type": "http.response.body", "body": held, "more_body": True})
        async for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        held = b""
    await send({"type": "http.response.body", "body": held})


async def _held(parts: AsyncIterator[bytes]) -> bytes:
    """Return a body, or as much of it as has arrived once that is more than is held back."""
    held = bytearray()
    async for part in parts:
        held += part
        if len(held) > HELD_BYTES:
            break
    return bytes(held)
