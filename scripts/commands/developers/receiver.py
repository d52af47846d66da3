"""A receiver of webhooks on loopback: takes them, verifies their signatures, and answers as it is told."""

import json
import socket
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from standardwebhooks import Webhook, WebhookVerificationError

MAX_BODY_BYTES = 16 * 1024**2
IDLE_SECONDS = 30
REFUSED = 401
"""The answer to a webhook whose signature is wrong."""

_UNTOUCHED = "surrogateescape"


class Received(NamedTuple):
    """A webhook as it came: the path, the headers by lower-case name, the body, and whether it is the sender's.

    `is_verified` is None if no secret was there to tell.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    is_verified: bool | None

    @property
    def event(self) -> Mapping[str, Any]:
        """The CloudEvent, empty if the body is none."""
        try:
            event = json.loads(self.body)
        except ValueError:
            return {}
        return event if isinstance(event, dict) else {}

    def to_json(self) -> str:
        """Return one line that `from_json` reads."""
        return json.dumps({**self._asdict(), "body": self.body.decode(errors=_UNTOUCHED)})

    @classmethod
    def from_json(cls, line: str) -> "Received":
        """Return what a line of `to_json` says. Raises `ValueError` if it is none."""
        try:
            said = json.loads(line)
            return cls(**{**said, "body": said["body"].encode(errors=_UNTOUCHED)})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("it is no received webhook") from error


def is_verified(secret: str | None, headers: Mapping[str, str], body: bytes) -> bool | None:
    """Tell whether a webhook was signed with the secret lately, None without a secret."""
    if secret is None:
        return None
    try:
        Webhook(secret).verify(body, dict(headers))
    except (WebhookVerificationError, ValueError):
        return False
    return True


class Receiver(ThreadingHTTPServer):
    """Takes webhooks. Each is given to `take` before it is answered with `status`, or 401 if it is not verified."""

    daemon_threads = True

    def __init__(
        self, listening: socket.socket, secret: str | None, status: int, take: Callable[[Received], None]
    ) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self._secret, self._status, self._take = secret, status, take

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """Take a webhook, and return the status to answer."""
        received = Received(path, headers, body, is_verified(self._secret, headers, body))
        self._take(received)
        return REFUSED if received.is_verified is False else self._status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: Receiver

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(411 if not length else 413)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):  # the sender ended in the middle of it
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._answer(self.server.answer(self.path, headers, body))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: what was received is printed."""

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()
