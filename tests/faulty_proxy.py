"""A proxy before the service that loses requests and answers when it is told to.

It forwards bytes on loopback. The client asks for one thing at a time on a connection, so what comes from it after an
answer, or first, begins a request, and what comes from the service after that begins its answer.
"""

import selectors
import socket
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Self

_BUFFER_BYTES = 1 << 16


class Fault(Enum):
    """What becomes of a request or its answer."""

    NOTHING = "forwarded, both ways"
    REQUEST_LOST = "cut before the service gets anything"
    ANSWER_LOST = "delivered, and cut when the answer comes"
    ANSWER_WITHHELD = "delivered, and the answer never comes"


class FaultyProxy(ThreadingTCPServer):
    """Listens at `url` while its context lasts; the next requests meet the faults that were planned, one each."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarding)
        self.service = (host, port)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._planned: deque[Fault] = deque()
        self._accepting = threading.Thread(target=self.serve_forever, args=(0.05,), name="faulty proxy")

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._accepting.join()
        self.server_close()

    def plan(self, faults: Iterable[Fault]) -> None:
        """Let the next requests, of any connection, meet these faults, and those after them none."""
        self._planned = deque(faults)

    @property
    def planned(self) -> int:
        """How many faults have not been met yet."""
        return len(self._planned)

    def next_fault(self) -> Fault:
        """Return what the next request is to meet."""
        try:
            return self._planned.popleft()
        except IndexError:
            return Fault.NOTHING


class _Forwarding(BaseRequestHandler):
    """One connection, both ways."""

    request: socket.socket
    server: FaultyProxy

    def handle(self) -> None:
        with (
            suppress(OSError),  # one side closed: so does the other
            socket.create_connection(self.server.service) as service,
            selectors.DefaultSelector() as ready,
        ):
            ready.register(self.request, selectors.EVENT_READ)
            ready.register(service, selectors.EVENT_READ)
            self._forward(service, ready)

    def _forward(self, service: socket.socket, ready: selectors.BaseSelector) -> None:
        fault, asking = Fault.NOTHING, False
        while True:
            for key, _ in ready.select():
                from_client = key.fileobj is self.request
                data = (self.request if from_client else service).recv(_BUFFER_BYTES)
                if not data:
                    return
                if from_client:
                    fault, asking = fault if asking else self.server.next_fault(), True
                    if fault is Fault.REQUEST_LOST:
                        return
                    service.sendall(data)
                else:
                    asking = False
                    if fault is Fault.ANSWER_LOST:
                        return
                    if fault is Fault.NOTHING:
                        self.request.sendall(data)
