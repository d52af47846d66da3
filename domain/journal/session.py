"""A session with the server. It says when a commit was not replicated, and it gives up on a server that hangs.

With a synchronous standby, a commit returns once the standby has it. If somebody cancels this wait, PostgreSQL says
that the commit succeeded, and adds a warning: the transaction is committed on this server alone, and everybody sees it
there (`SyncRepWaitForLSN` in PostgreSQL's syncrep.c). It can be lost with the server. So the warning is an error here,
and like a lost connection it leaves the commit in doubt.

For the same reason, seeing a row proves nothing about the standby. After a wait that was cut short, by a cancellation,
the end of its session or a crash, rows are visible that no standby has. A server that was replaced while it stood still
does not know of newer rows at all. A commit of one's own settles both: the standby acknowledges the log in order, and a
standby that was promoted acknowledges nothing. `confirm` makes such a commit.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg import Connection
from psycopg.abc import PQGen
from psycopg.errors import Diagnostic, _WaitTimeout

HUNG_SECONDS = 5.0
"""How long a session waits for an answer before it asks whether the server is there, and between two questions."""

ANSWER_SECONDS = 3.0
"""How long a server may take to answer a new connection. A server that takes longer hangs."""

CONFIRM_SECONDS = 4.0
"""How long a read waits for a synchronous standby."""

_SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))
"""The only question that every server answers without a login, with one byte."""

_CONFIRM = (
    "SELECT pg_catalog.pg_logical_emit_message(true, 'tallystick', '')"
    " WHERE current_setting('synchronous_standby_names') <> '' AND NOT pg_is_in_recovery()"
)
"""The smallest transaction that is written to the log. Its commit waits as every commit does."""

Found = TypeVar("Found")

_log = structlog.get_logger(__name__)


class NotReplicated(psycopg.OperationalError):
    """A commit took place on this server, and it is not known whether a standby has it. The connection is closed."""


class ServerHangs(psycopg.OperationalError):
    """The server answers neither this session nor a new one. The connection is closed."""


class Session(Connection[Any]):
    """A connection whose every wait may raise `NotReplicated` or `ServerHangs`, besides what psycopg raises."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waits_cut_short: list[str] = []
        self._give_up_at: float | None = None
        self.statements: Any = None
        """The statements that were prepared on it by their names (statements.py)."""
        self.add_notice_handler(_noting(self._waits_cut_short))  # which does not know this object: no cycle

    def wait(self, gen: PQGen[Found], interval: float = 0.1, timeout: float | None = None) -> Found:
        """Run what psycopg does, as every method of a connection and its cursors has it run."""
        while True:
            try:
                found = super().wait(gen, interval, self._patience_seconds() if timeout is None else timeout)
            except _WaitTimeout:
                if timeout is not None:
                    raise
                self._look_after()
                gen = _going_on(gen)
            except psycopg.Error:
                self.require_replicated()  # what failed may have come after a commit
                raise
            else:
                self.require_replicated()
                return found

    def close(self) -> None:
        """Close the connection, and forget what was prepared on it."""
        self.statements = None  # which knows this object
        super().close()

    def _deallocate(self, name: bytes | None) -> PQGen[None]:
        """Send what the library sends after a rollback and after DDL, which also concerns what it has not prepared."""
        if name is None and self.statements is not None:
            self.statements.forget()
        return super()._deallocate(name)

    def require_replicated(self) -> None:
        """Raise `NotReplicated` if the wait of a commit was cut short. For those who use libpq themselves."""
        if self._waits_cut_short:
            self.close()
            raise NotReplicated(self._waits_cut_short[0])

    def require_server(self) -> None:
        """Raise `ServerHangs` if the server does not answer a new connection either."""
        if not _answers(self.pgconn.socket):
            _log.warning("server hangs", host=self.info.host, port=self.info.port)
            self.close()
            raise ServerHangs("the server hangs: it answers neither this session nor a new one")

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Close the connection and raise `NotReplicated` if what is run here takes longer."""
        self._give_up_at = monotonic() + seconds
        try:
            yield
        finally:
            self._give_up_at = None

    def _patience_seconds(self) -> float:
        return HUNG_SECONDS if self._give_up_at is None else max(0.0, self._give_up_at - monotonic())

    def _look_after(self) -> None:
        """Give up if it is time to, or if the server hangs."""
        if self._give_up_at is None:
            self.require_server()
        else:
            self.close()
            raise NotReplicated("no synchronous standby has confirmed in time what was read")


def _going_on(gen: Any) -> Any:
    """Go on with what had not ended in time."""
    try:
        wanted = gen.send(0)  # nothing has arrived
        while True:
            wanted = gen.send((yield wanted))
    except StopIteration as done:
        return done.value


def confirm(connection: Connection[Any]) -> None:
    """Return once everything that this session has seen is on a synchronous standby, if there is to be one.

    Raises `NotReplicated` if that takes too long, or cannot be known. In a transaction it is known at its commit.
    """
    if isinstance(connection, Session):
        with connection.within(CONFIRM_SECONDS):
            connection.execute(_CONFIRM)
    else:
        connection.execute(_CONFIRM)


def _noting(waits_cut_short: list[str]) -> Any:
    def note(diagnostic: Diagnostic) -> None:
        # The words are in the server's language; the file is not.
        if diagnostic.source_file == "syncrep.c" and diagnostic.severity_nonlocalized == "WARNING":
            waits_cut_short.append(diagnostic.message_primary or "")

    return note


def _answers(connected: int) -> bool:
    """Tell whether the server at the other end of a connection, given by its file, answers a new connection."""
    try:
        with socket.socket(fileno=os.dup(connected)) as present:
            family, address = present.family, present.getpeername()
        with socket.socket(family, socket.SOCK_STREAM) as new:
            new.settimeout(ANSWER_SECONDS)
            new.connect(address)
            new.sendall(_SSL_REQUEST)
            new.recv(1)
    except OSError:
        return False
    return True
