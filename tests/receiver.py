"""A receiver of webhooks: a real HTTP server on loopback that answers as the test decides."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook


class Received(NamedTuple):
    """A request as it came: its headers by lower-case name, and its body."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id of the message."""
        return self.headers["webhook-id"]

    @property
    def position(self) -> int:
        """The position of the event."""
        return int(self.id.rpartition("/")[2])

    def verified(self, secret: str) -> dict[str, Any]:
        """The members of the CloudEvent, after the receivers' library has verified the signature."""
        body: dict[str, Any] = Webhook(secret).verify(self.body, dict(self.headers))
        return body

    def event(self) -> Any:
        """The CloudEvent, parsed by an independent library."""
        return from_http_event(HTTPMessage(dict(self.headers), self.body))


class Reply(NamedTuple):
    """How a request is answered, once `after` is set if it is given. Without a status the connection is cut."""

    status: int | None = 204
    headers: Mapping[str, str] = {}
    after: threading.Event | None = None
    body: bytes = b""


Behave = Callable[[Received, int], Reply]
"""Decides the answer from a request and how often its message has come, this time included."""


def well(received: Received, count: int) -> Reply:
    """Accept everything."""
    return Reply()


class Receiver:
    """The requests in the order they came, and how to answer the next ones."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.behave: Behave = well
        self._received: list[Received] = []
        self._lock = threading.Lock()

    @property
    def received(self) -> Sequence[Received]:
        """The requests received so far."""
        with self._lock:
            return tuple(self._received)

    def ids(self) -> list[str]:
        """The ids of the received messages, in order."""
        return [received.id for received in self.received]

    def positions(self) -> list[int]:
        """The positions of the received events, in order."""
        return [received.position for received in self.received]

    def take(self, received: Received) -> Reply:
        """Note a request and decide its answer."""
        with self._lock:
            self._received.append(received)
            count = sum(of.id == received.id for of in self._received)
        return self.behave(received, count)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that runs meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the sender died in the middle of it
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = receiver.take(Received(headers, body))
            if reply.after is not None:
                reply.after.wait()
            if reply.status is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Ignore clients that went away."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hooks")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
