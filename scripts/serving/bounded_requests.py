"""uvicorn's HTTP protocol with limits, so that a slow or hostile client costs the others nothing.

- Bytes are counted since the last progress: a complete head or a piece of a body. One count thus bounds request lines,
  fields, blank lines, chunk extensions and trailers, at no measurable cost per request. The parser never gets more at
  once than the count allows.
- A request names its host exactly once (RFC 9112 §3.2). HTTP/1.0 may leave it out.
- Trailers are not headers. The scope has been handed over when they arrive, so they go to a list that nobody reads.
- A refused client is read for a moment longer, and its bytes are thrown away. Closing a connection with unread bytes
  would reset it, and the client would not see the refusal.
- A head must arrive within 10 seconds and an answer be read within 30 (`connection_limits.py` checks this). When a
  client leaves, its reads are cancelled.
"""

import asyncio
import re
from http import HTTPStatus
from time import monotonic
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.http.middleware import CLIENT_LEFT, refusal_before_request
from api.problems import HeadTooLarge, MalformedRequest, RequestTimeout
from domain.model.errors import LedgerError, Overloaded
from scripts.serving.connection_limits import LOOK_SECONDS, Connections
from scripts.serving.exchange import Exchange

MAX_HEAD_BYTES = 32 * 1024
MAX_FIELDS = 100
# Clients do not send more without waiting for an answer, and each waiting request takes some kilobytes.
MAX_PIPELINED = 32

HEAD_SECONDS = 10.0
ANSWER_SECONDS = 30.0
# For the rest of a body that is already answered, and for what a refused client still sends.
REST_SECONDS = 10.0
LINGER_SECONDS = 3.0
MAX_THROWN_AWAY_BYTES = 128 * 1024 * 1024

_READS = ("GET", "HEAD")

_ASGI: Any = {"version": "3.0", "spec_version": "2.3"}

# uri-host [ ":" port ] of RFC 9110 §7.2; it may be empty.
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.]+\]|(?:[0-9A-Za-z._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")


class BoundedRequests(HttpToolsProtocol):
    """One HTTP connection to one client."""

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._connections = connections
        self._began = connections.now
        self._unfinished = 0  # bytes since the last progress
        self._has_moved = False
        self._in_head = self._in_body = False
        self._is_ending = self._is_half_closed = False
        self._thrown_away = 0
        self._unread_since: float | None = None
        self._hosts: list[bytes] = []  # of the last request
        self._serving: asyncio.Task[None] | None = None
        self._served: RequestResponseCycle | None = None

    # Called by `Connections`.

    @property
    def has_asked(self) -> bool:
        """Whether a request has ever been complete."""
        return self.cycle is not None

    @property
    def waits_since(self) -> float | None:
        """Since when the connection is idle or its request incomplete, on the monotonic clock. None while being
        answered.
        """
        return None if self._is_answering or self._is_ending else self._began

    @property
    def _is_answering(self) -> bool:
        return bool(self.pipeline) or (self._served is not None and not self._served.response_complete)

    def look(self, now: float) -> None:
        """End the connection if a head, the rest of a body, the reading of an answer or idleness takes too long."""
        self._look_at_answer(now)
        passed = now - self._began
        if self._is_answering:
            return
        if self._is_ending:
            if passed > LINGER_SECONDS:
                self.transport.abort()
        elif self._in_body:
            if passed > REST_SECONDS:
                self.transport.abort()
        elif self._in_head or self._unfinished:
            if passed > HEAD_SECONDS:
                self._refuse(RequestTimeout())
        elif passed > (self.timeout_keep_alive if self.has_asked else HEAD_SECONDS):
            self.transport.close()

    def _look_at_answer(self, now: float) -> None:
        if not self.transport.get_write_buffer_size():
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > ANSWER_SECONDS:
            self.transport.abort()

    def make_way(self) -> None:
        """End the connection, because another one needs its place."""
        if self._in_head or self._unfinished:
            self._refuse(Overloaded())
        else:
            self.transport.close()

    # Called by the transport.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, or refuse it because there are too many."""
        super().connection_made(transport)
        self._began = monotonic()
        is_kept = self._connections.add(self)
        begin_looking(self._connections, self.loop)
        if not is_kept:
            if self._connections.can_tell:
                self._refuse(Overloaded("There are too many connections. Try again shortly."))
            else:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and cancel a read that only its client wanted."""
        super().connection_lost(exc)
        self._connections.remove(self)
        self.pipeline.clear()
        if self._serving and self._served and self._served.scope["method"] in _READS:
            self._serving.cancel(CLIENT_LEFT)

    def resume_writing(self) -> None:
        """Note that the client is reading."""
        super().resume_writing()
        self._unread_since = None

    def data_received(self, data: bytes) -> None:
        """Feed received bytes to the parser, never more at once than an unfinished head may have."""
        room = MAX_HEAD_BYTES - self._unfinished
        if len(data) <= room and not self._is_ending:
            self._feed(data)
            return
        rest = memoryview(data)
        while rest and not self._is_ending:
            piece, rest = rest[:room], rest[room:]
            self._feed(piece)
            room = MAX_HEAD_BYTES - self._unfinished
        self._throw_away(len(rest))

    def _feed(self, data: bytes | memoryview) -> None:
        if not self._unfinished and not self._in_body and not self._is_answering:
            self._began = self._connections.now
        self._has_moved = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # the bytes after an upgrade might belong to the other protocol
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, LedgerError) else MalformedRequest())
            return
        if self._has_moved:
            self._unfinished = 0
        elif not self._is_ending:
            self._unfinished += len(data)
            if self._unfinished >= MAX_HEAD_BYTES:
                self._refuse(HeadTooLarge())

    def _throw_away(self, size: int) -> None:
        self._thrown_away += size
        if self._thrown_away > MAX_THROWN_AWAY_BYTES:
            self.transport.abort()

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Begin a head. The scope is made when it is complete."""
        self._in_head = True
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field of a head or of a trailer."""
        if len(self.headers) >= MAX_FIELDS:
            raise HeadTooLarge
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise Overloaded
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise MalformedRequest
        self._require_host(version)
        self._begin(version)
        self.headers = []  # a list for trailers, which nobody reads
        self._has_moved, self._in_head, self._in_body = True, False, True
        self._thrown_away = 0

    def _require_host(self, version: str) -> None:
        hosts = [value for name, value in self.headers if name == b"host"]
        if hosts and hosts == self._hosts:
            return
        if not hosts and version == "1.1":
            raise MalformedRequest("A request of HTTP/1.1 needs a Host header. The connection is closed.")
        if len(hosts) > 1:
            raise MalformedRequest(
                f"The Host header is given {len(hosts)} times; give it once. The connection is closed."
            )
        if hosts and not _HOST.fullmatch(hosts[0].strip(b" \t")):
            raise MalformedRequest(
                "The Host header must be the name or address of a host, and a port if it has one."
                " The connection is closed."
            )
        self._hosts = hosts

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._has_moved = True
        if self.cycle.response_complete:
            self._throw_away(len(body))
            return
        self.cycle.body += body
        if len(self.cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request."""
        self._has_moved, self._in_body = True, False
        self._began = self._connections.now
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # Overrides of uvicorn.

    def _begin(self, version: str) -> None:
        """Answer a request after those before it. As in uvicorn, but without its limit and its upgrades."""
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        self.scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "root_path": "",
            "method": self.parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        must_wait = self.has_asked and not self.cycle.response_complete
        cycle = self.cycle = Exchange(
            self.scope,
            self.transport,
            self.flow,
            self.logger,
            self.server_state.default_headers,
            self.on_response_complete,
            expect_100_continue=self.expect_100_continue,
            # A client refused before it sent the body may send it or not, so its connection cannot be used again.
            keep_alive=version != "1.0" and self.parser.should_keep_alive() and not self.expect_100_continue,
        )
        if must_wait:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))
        else:
            self._start_asgi_task(cycle, self.app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Copied from uvicorn, which does not keep the task of each cycle.
        # The name is given, because making one for each takes time.
        task = asyncio.Task(cycle.run_asgi(app), loop=self.loop, name="request")
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        self._serving, self._served = task, cycle

    def on_response_complete(self) -> None:
        """Start the next request or wait for it. As in uvicorn, but without a timer for each answer."""
        self.server_state.total_requests += 1
        self._began = self._connections.now
        if self.transport.is_closing() or (self._is_ending and not self.pipeline):
            self.transport.close()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    @property
    def has_unread(self) -> bool:
        """Whether part of the request is still unread."""
        return self._in_body or self._is_ending

    def end_after_rest(self) -> None:
        """End, but read for a moment: closing with unread bytes would reset the connection and lose the answer."""
        if self._is_half_closed:
            return
        self._is_ending = self._is_half_closed = True
        self._began = self._connections.now
        self._connections.ending(self)
        self.transport.write_eof()
        self.flow.resume_reading()

    def _refuse(self, error: LedgerError) -> None:
        """Answer an invalid request with `error`, after the requests before it, and read no more requests."""
        if self._is_ending:
            return
        self._is_ending = True
        if self._in_body and self.pipeline:
            self.pipeline.popleft()  # the invalid one
        elif self._in_body and self._is_answering:
            self._give_up()
        elif self._in_body:  # already answered
            self.end_after_rest()
        # While others are being answered, `on_response_complete` ends the connection after the last of them.
        if not self._is_answering and not self._is_half_closed and not self.transport.is_closing():
            self.transport.write(self._written(error))
            self.end_after_rest()

    def _give_up(self) -> None:
        """Make the request being answered see its client as gone."""
        started = self.cycle.response_started
        self.cycle.disconnected = self.cycle.response_complete = True
        self.cycle.message_event.set()
        if started:
            self.transport.abort()

    def _written(self, error: LedgerError) -> bytes:
        url = getattr(self, "url", b"") or b"/"
        answer, headers = refusal_before_request(error, url.partition(b"?")[0], self.app_state)
        fields = [f"{name.lower()}: {value}" for name, value in headers.items()]
        status = HTTPStatus(answer.status)
        head = "\r\n".join([f"HTTP/1.1 {status} {status.phrase}", *fields, "connection: close", "", ""])
        return head.encode("latin-1") + answer.body


def begin_looking(connections: Connections, loop: asyncio.AbstractEventLoop) -> None:
    """Check all connections twice a second for as long as there are any."""
    if connections.is_looked_at:
        return
    connections.is_looked_at = True

    def look() -> None:
        try:
            connections.is_looked_at = connections.look()
        finally:  # a fault with one connection must not keep the others open for ever
            if connections.is_looked_at:
                loop.call_later(LOOK_SECONDS, look)

    look()
