"""A proxy before PostgreSQL that loses the answer to a COMMIT: the one failure that leaves the outcome unknown.

It forwards bytes on loopback and understands just enough of PostgreSQL's protocol to see that a transaction is
committed (PostgreSQL documentation, Message Formats: CommandComplete). A notifying statement outside a transaction is
committed once the server is ready for the next statement (ReadyForQuery).
"""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo

_COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
_READY = b"Z\x00\x00\x00\x05I"
_NOTIFYING = b"pg_notify\x00"
_BUFFER_BYTES = 1 << 16


class SeveringProxy(ThreadingTCPServer):
    """Listens on its own port while its context lasts. Connect to its `database_url` instead of the database's.

    It forwards until told otherwise. `sever_next_commit` makes it lose, once, the answer to the next COMMIT and
    everything after it, and close both sides; then `severed` is set. `cut` closes every connection and refuses new ones
    until `restore`.
    """

    def __init__(self, database_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarding)
        with psycopg.connect(database_url) as connection:
            self._host, self._port = connection.info.host, connection.info.port
        # Unencrypted, so that messages can be told apart.
        self.database_url = make_conninfo(
            database_url,
            host="127.0.0.1",
            port=self.server_address[1],
            sslmode="disable",
            gssencmode="disable",
        )
        self.severed = threading.Event()
        self._lock = threading.Lock()
        self._severing = False
        self._refusing = False
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self.serve_forever, args=(0.05,), name="severing proxy")

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._accepting.join()
        self.cut()
        self.server_close()  # waits for the threads of all connections

    def sever_next_commit(self) -> None:
        """Lose the answer to the next COMMIT of any connection."""
        self.severed.clear()
        self._severing = True

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        with self._lock:
            self._refusing = True
            for connection in self._open:
                with suppress(OSError):  # its other side has just closed it
                    connection.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Accept connections again."""
        self._refusing = False

    @contextmanager
    def connected(self, client: socket.socket) -> Iterator[socket.socket]:
        """Connect a client to the database. Ends at once if connections are refused."""
        with self._connect() as server:
            for connection in (client, server):
                if connection.family != socket.AF_UNIX:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as libpq does
            with self._lock:
                self._open |= {client, server}
                if self._refusing:
                    client.shutdown(socket.SHUT_RDWR)
            try:
                yield server
            finally:
                with self._lock:
                    self._open -= {client, server}

    def takes_turn(self) -> bool:
        """Tell whether the caller must sever. Only one connection does, once."""
        with self._lock:
            mine, self._severing = self._severing, False
            return mine

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._host}/.s.PGSQL.{self._port}")
        return server


class _Forwarding(BaseRequestHandler):
    """One connection, both ways."""

    request: socket.socket
    server: SeveringProxy

    def handle(self) -> None:
        with self.server.connected(self.request) as database, selectors.DefaultSelector() as ready:
            ready.register(self.request, selectors.EVENT_READ)
            ready.register(database, selectors.EVENT_READ)
            with suppress(OSError):  # one side closed, so the other is closed too
                self._forward(database, ready)

    def _forward(self, database: socket.socket, ready: selectors.BaseSelector) -> None:
        waiting = b""
        held: list[bytes] = []
        while True:
            for key, _ in ready.select():
                source: Any = key.fileobj
                data = source.recv(_BUFFER_BYTES)
                if not data:
                    return
                if source is self.request:
                    database.sendall(data)
                    continue
                messages, waiting = _whole_messages(waiting + data)
                passing: list[bytes] = []
                for message in messages:
                    if held or _describes_notification(message):
                        held.append(message)
                        if message[:1] != b"Z":
                            continue
                        answer, held = held, []
                        committed = message == _READY and not any(part[:1] == b"E" for part in answer)
                    else:
                        answer, committed = [message], message == _COMMITTED
                    if committed and self.server.takes_turn():
                        # Forward all but the message of the commit, because rows that a statement returns come before
                        # it.
                        self.request.sendall(b"".join([*passing, *answer[:-1]]))
                        self.server.severed.set()
                        return
                    passing += answer
                self.request.sendall(b"".join(passing))


def _describes_notification(message: bytes) -> bool:
    return message[:1] == b"T" and _NOTIFYING in message


def _whole_messages(data: bytes) -> tuple[list[bytes], bytes]:
    """Split the server's bytes into whole messages and a rest. A message is a type byte and a four-byte length that
    counts itself.
    """
    messages = []
    start = 0
    while len(data) >= start + 5:
        end = start + 1 + int.from_bytes(data[start + 1 : start + 5], "big")
        if len(data) < end:
            break
        messages.append(data[start:end])
        start = end
    return messages, data[start:]
