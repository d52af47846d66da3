"""A request and its answer. A small answer is checked as a whole and sent in one write.

uvicorn checks each field of an answer, and writes head and body separately: together a tenth of the service's work for
a transfer. Whatever need not wait is done without a coroutine: each takes half a microsecond, and requests have many.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from typing import Any, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

# Joining copies the answer. A large one that many clients read slowly at once must exist only once in memory.
_JOINED_BYTES = 64 * 1024
_SPECIAL = frozenset({b"connection", b"transfer-encoding"})
# All but the tab. One of them in a value could begin a field, or a whole answer, of somebody else's making.
_CONTROLS = bytes((*range(9), *range(10, 32), 127))


class _Done:
    """Something that is awaited without waiting."""

    def __await__(self) -> Generator[Any, None, None]:
        return _NO_STEPS


_NO_STEPS = cast(Generator[Any, None, None], iter(()))
_DONE = _Done()


class Exchange(RequestResponseCycle):
    """One request on a connection, and its answer.

    The head of an answer waits for the first part of the body, as ASGI demands. uvicorn sends whatever is no small,
    whole answer on a connection that stays open.
    """

    # What uvicorn's own `__init__` sets for each request. Setting it once for all takes half the time.
    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    _head: ASGISendEvent | None = None

    def __init__(
        self,
        scope: Any,
        transport: asyncio.Transport,
        flow: FlowControl,
        logger: logging.Logger,
        default_headers: list[tuple[bytes, bytes]],
        on_response: Callable[[], None],
        *,
        keep_alive: bool,
        expect_100_continue: bool,
    ) -> None:
        self.scope = scope
        self.transport = transport
        self.flow = flow
        self.logger = logger
        self.default_headers = default_headers
        self.on_response = on_response
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expect_100_continue
        self.message_event = asyncio.Event()
        self.body = bytearray()

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next part of the request's body, or that the client has gone."""
        if self.more_body or self.waiting_for_100_continue or self.disconnected or self.response_complete:
            return await super().receive()
        if not self.message_event.is_set():  # asked again
            return await super().receive()
        self.flow.resume_reading()
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    def send(self, message: ASGISendEvent) -> Awaitable[None]:  # type: ignore[override]
        """Take the head of the answer, or a part of its body."""
        if message["type"] == "http.response.start" and not self.response_started:
            # A second one is uvicorn's own, of an application that failed before the first part: nothing was sent.
            self._head = message
            return _DONE
        head, self._head = self._head, None
        if head is None:
            return super().send(message)
        if self._is_simple(head, message):
            self._send_whole(head, message)
            return _DONE
        return self._send_in_parts(head, message)

    async def _send_in_parts(self, head: ASGISendEvent, message: ASGISendEvent) -> None:
        await super().send(head)
        await super().send(message)

    def _is_simple(self, head: Any, message: Any) -> bool:
        body = message.get("body", b"")
        if message.get("more_body") or len(body) > _JOINED_BYTES or self.scope["method"] == "HEAD":
            return False
        if not self.keep_alive or self.disconnected or self.flow.write_paused:
            return False
        fields = dict(head["headers"])
        return fields.get(b"content-length") == b"%d" % len(body) and _SPECIAL.isdisjoint(fields)

    def _send_whole(self, head: Any, message: Any) -> None:
        lines = [b": ".join(field) for field in (*self.default_headers, *head["headers"])]
        fields = b"".join(lines)
        if len(fields.translate(None, _CONTROLS)) < len(fields):
            raise RuntimeError("A header of the answer has a character that none may have.")
        whole = [STATUS_LINE[head["status"]], b"\r\n".join(lines), b"\r\n\r\n", message.get("body", b"")]
        self.transport.write(b"".join(whole))
        self.waiting_for_100_continue = False
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.on_response()
