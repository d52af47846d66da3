"""uvicorn's HTTP protocol with limits, on connections that are not closed before what the client sends is read."""

import asyncio
from typing import Any, cast

from scripts.serving.bounded_requests import BoundedRequests


class WholeAnswers(BoundedRequests):
    """Speaks HTTP through a transport that waits, before it closes, for the rest of a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(cast(asyncio.Transport, _Lingering(transport, self)))


class _Lingering:
    """A transport. If part of the request is still unread, closing waits for a moment."""

    def __init__(self, transport: asyncio.Transport, requests: BoundedRequests) -> None:
        self._transport = transport
        self._requests = requests
        self.write = transport.write
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        if self._requests.has_unread and not self._transport.is_closing():
            self._requests.end_after_rest()
        else:
            self._transport.close()
