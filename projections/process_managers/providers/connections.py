"""Connections to a provider on which every call ends in time, whatever the provider answers.

The client library limits only each single read. So an answer that comes byte by byte, or headers that never end, could
last for ever. Here every read and write of a call gets only the time that is left of the whole call.
"""

import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import httpcore2

from projections.exact_answers import AnswerBytes


class TimedNetwork(httpcore2.NetworkBackend):
    """Makes connections whose reads and writes end when the time of the thread's call is over."""

    def __init__(self) -> None:
        self._network = httpcore2.SyncBackend()
        self._call = threading.local()

    @contextmanager
    def call(self, seconds: float) -> Iterator[None]:
        """Limit everything that this thread does in the context to so many seconds in total."""
        self._call.give_up_at = monotonic() + seconds
        try:
            yield
        finally:
            del self._call.give_up_at

    def left_seconds(self, timeout: float | None) -> float:
        """Return how many seconds a read or write may take. Raises `httpcore2.ReadTimeout` if none are left."""
        left: float = self._call.give_up_at - monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the time of the call is over")
        return left if timeout is None else min(left, timeout)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Return a connection."""
        stream = self._network.connect_tcp(
            host, port, self.left_seconds(timeout), local_address, socket_options
        )
        return TimedStream(self, stream)


class TimedStream(httpcore2.NetworkStream):
    """A connection of a `TimedNetwork`. It is not reused after an answer that did not end where it said.

    `projections/exact_answers.py` gives the reason.
    """

    def __init__(self, network: TimedNetwork, stream: httpcore2.NetworkStream) -> None:
        self._network = network
        self._stream = stream
        self._answer = AnswerBytes()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return bytes of an answer, none at its end."""
        data = self._stream.read(max_bytes, self._network.left_seconds(timeout))
        self._answer.received(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes of a request."""
        self._answer.request_sent()
        self._stream.write(buffer, self._network.left_seconds(timeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Return the connection, encrypted."""
        left_seconds = self._network.left_seconds(timeout)
        return TimedStream(self._network, self._stream.start_tls(ssl_context, server_hostname, left_seconds))

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        if info == "is_readable" and not self._answer.is_exact:
            return True
        return self._stream.get_extra_info(info)
