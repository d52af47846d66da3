"""uvicorn's HTTP protocol with limits, and with the head and body of an answer sent in one write.

uvicorn writes them separately: two system calls here and perhaps two wake-ups of the client. With small answers that is
a tenth of a saturated machine.
"""

import asyncio
from typing import Any, cast

from scripts.serving.bounded_requests import BoundedRequests

_HEAD = b"HTTP/1.1 "
# Joining copies the answer. A large one that many clients read slowly at once must exist only once in memory.
_JOINED_BYTES = 64 * 1024


class WholeAnswers(BoundedRequests):
    """Speaks HTTP through a transport that keeps the head of an answer until its body comes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(cast(asyncio.Transport, _Joining(transport, self.loop, self)))


class _Joining:
    """A transport that joins the head of an answer to the next write, within one turn of the event loop.

    If part of the request is still unread, closing waits for a moment.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, requests: BoundedRequests
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._requests = requests
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            if len(data) > _JOINED_BYTES:
                self._transport.writelines((head, data))
            else:
                self._transport.write(head + data)
        elif data.startswith(_HEAD):
            self._head = data
            self._loop.call_soon(self._flush)  # for an answer whose body comes later or never
        else:
            self._transport.write(data)

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        self._flush()
        if self._requests.has_unread and not self._transport.is_closing():
            self._requests.end_after_rest()
        else:
            self._transport.close()

    def _flush(self) -> None:
        if self._head and not self._transport.is_closing():
            self.write(b"")
