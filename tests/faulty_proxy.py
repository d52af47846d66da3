"""A proxy before the service that loses requests and answers on demand, or gives others in their place.

It forwards bytes on loopback. The client sends one request at a time on a connection. So the client's first bytes, and
those after an answer, begin a request, and the service's next bytes begin its answer.
"""

import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from socketserver import BaseRequestHandler, ThreadingTCPServer
from time import sleep
from typing import NamedTuple, Self

_BUFFER_BYTES = 1 << 16


class Fault(Enum):
    """What happens to a request or its answer."""

    NOTHING = "forwarded, both ways"
    REQUEST_LOST = "cut before the service gets anything"
    ANSWER_LOST = "delivered, and cut when the answer comes"
    ANSWER_WITHHELD = "delivered, and the answer never comes"


MOSTLY_WITHOUT = [
    *[Fault.NOTHING] * 79,
    *[Fault.REQUEST_LOST] * 10,
    *[Fault.ANSWER_LOST] * 10,
    Fault.ANSWER_WITHHELD,  # few, because each costs the time of an attempt
]
"""What a hundred requests meet on a bad day."""


class Forgery(NamedTuple):
    """The request is delivered, and the client gets these bytes in place of the answer.

    What comes `for_ever` follows, a pause between, as long as the client takes it. Then the connection is closed, or
    reset.
    """

    begin: bytes
    for_ever: bytes = b""
    pause_seconds: float = 0.0
    is_reset: bool = False

    def send(self, client: socket.socket) -> None:
        """Send the bytes. Raises `OSError` when the client goes."""
        client.sendall(self.begin)
        while self.for_ever:
            sleep(self.pause_seconds)
            client.sendall(self.for_ever)
        if self.is_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()


class FaultyProxy(ThreadingTCPServer):
    """Listens at `url` while its context lasts. Each of the next requests meets one of the planned faults."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarding)
        self.service = (host, port)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._planned: deque[Fault | Forgery] = deque()
        self._accepting = threading.Thread(target=self.serve_forever, args=(0.05,), name="faulty proxy")

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._accepting.join()
        self.server_close()

    def plan(self, faults: Iterable[Fault | Forgery]) -> None:
        """Plan these faults for the next requests of any connection. Requests after those meet none."""
        self._planned = deque(faults)

    @property
    def planned(self) -> int:
        """How many planned faults no request has met yet."""
        return len(self._planned)

    def next_fault(self) -> Fault | Forgery:
        """Return the fault of the next request."""
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
            suppress(OSError),  # one side closed, so the other is closed too
            socket.create_connection(self.server.service) as service,
            selectors.DefaultSelector() as ready,
        ):
            ready.register(self.request, selectors.EVENT_READ)
            ready.register(service, selectors.EVENT_READ)
            self._forward(service, ready)

    def _forward(self, service: socket.socket, ready: selectors.BaseSelector) -> None:
        fault: Fault | Forgery = Fault.NOTHING
        asking = False
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
                    if isinstance(fault, Forgery):
                        fault.send(self.request)
                    if fault is Fault.ANSWER_LOST or isinstance(fault, Forgery):
                        return
                    if fault is Fault.NOTHING:
                        self.request.sendall(data)
