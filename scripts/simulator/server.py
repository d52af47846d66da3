"""The simulator's HTTP server: submit a payout, ask about one, read the books, script what goes wrong.

It uses the standard library's server, since that can drop a connection in the middle of a request.
"""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep
from typing import Any
from urllib.parse import unquote

from pydantic import ValidationError

from scripts.simulator.books import Books, Paid
from scripts.simulator.callbacks import Callbacks
from scripts.simulator.faults import Fault, Faults, Order, Script

MAX_BODY_BYTES = 64 * 1024
IDLE_SECONDS = 30


class Simulator:
    """A provider on a port of the loopback interface, in threads of its own."""

    def __init__(self, listening: socket.socket, faults: Faults, callbacks: Callbacks) -> None:
        self.books = Books()
        self.faults = faults
        self.callbacks = callbacks
        self._server = _Server(listening, self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="simulator", daemon=True)

    @property
    def url(self) -> str:
        """The provider's URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Start answering."""
        self.callbacks.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self.callbacks.stop()

    def submit(self, order: Order, correlation_id: str, traceparent: str) -> tuple[Paid | None, Fault]:
        """Act on an order unless a fault comes before; return the payout if acted on, and the fault."""
        fault = self.faults.of_submission(order, self.books.submitted(order.key))
        if fault in ("drop_before", "error_before"):
            return None, fault
        paid, is_new = self.books.act(order, self.faults.plan(order), correlation_id, traceparent)
        if is_new:
            self.callbacks.announce(paid)
        return paid, fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listening: socket.socket, simulator: Simulator) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.simulator = simulator


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: _Server

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/payouts":
            self._submit(body)
        elif self.path == "/script":
            self._script(body)
        else:
            self._answer(404, {})

    def do_GET(self) -> None:
        if self.path == "/books":
            self._answer(200, {"data": self.server.simulator.books.shown()})
        elif self.path.startswith("/payouts/"):
            self._ask(unquote(self.path.removeprefix("/payouts/")))
        else:
            self._answer(404, {})

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the books have everything."""

    def _body(self) -> Any:
        length = min(int(self.headers.get("Content-Length") or 0), MAX_BODY_BYTES)
        try:
            return json.loads(self.rfile.read(length))
        except ValueError:
            return None

    def _submit(self, body: Any) -> None:
        try:
            order = Order(**body)
        except TypeError:
            self._answer(422, {})
            return
        if self.headers.get("Idempotency-Key") != order.key:
            self._answer(400, {})
            return
        simulator = self.server.simulator
        conversation = self.headers.get("Correlation-Id", ""), self.headers.get("traceparent", "")
        paid, fault = simulator.submit(order, *conversation)
        if fault == "stall":
            sleep(simulator.faults.rates.stall_seconds)
        if fault in ("drop_before", "drop_after"):
            self._drop()
        elif fault in ("error_before", "error_after"):
            self._answer(503 if fault == "error_before" else 500, {})
        else:
            assert paid is not None
            self._answer(200, paid.answer(paid.said(monotonic())))

    def _ask(self, key: str) -> None:
        simulator = self.server.simulator
        attempt = simulator.books.asked(key)
        paid = simulator.books.find(key)
        if paid is None:
            self._answer(404, {"key": key, "state": "unknown"})
        elif simulator.faults.of_inquiry(paid.order, attempt):
            self._answer(500, {})
        else:
            self._answer(200, paid.answer(paid.said(monotonic())))

    def _script(self, body: Any) -> None:
        try:
            self.server.simulator.faults.follow(Script.model_validate(body))
        except ValidationError as error:
            self._answer(422, {"detail": str(error)})
        else:
            self._answer(200, {})

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
