"""Clients that fall silent: what they hold is taken from them, so that one that hangs does not stop all others.

A process that was stopped, or whose machine vanished, keeps its locks for as long as its session lives. The server ends
the session, if it is told to, when no word has come for some seconds: timers of its own, and the keepalives of TCP
where a machine is gone. What the client wakes up to is a lost connection, which it has to be ready for anyway.

PostgreSQL starts these timers whenever it says that it is ready, and stops them with the next message. A pipeline of
psycopg ends with Sync, which is answered so, and then Flush, which is not: it stops the timers, and nothing starts them
again (measured on 15 and 18, with four forms of pipeline). So pipelines end here with Sync alone. `transaction_timeout`
would end such a transaction too, but there is none before PostgreSQL 17, and it would end one that is busy with a large
batch as well.

No timer runs in the midst of a COPY, of a request that came by half, or of an answer that is not taken. That is for
those who wait: they watch whom they wait for, and end a session whose server process waits for its client all the
while.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import psycopg
import structlog
from psycopg import Connection, Pipeline
from psycopg.abc import PQGen
from psycopg.generators import send
from psycopg.rows import tuple_row

from domain.journal.queries import load

SILENCE_SECONDS = 8
"""How long who holds what others wait for may say nothing within a transaction."""

SESSION_SILENCE_SECONDS = 12
"""How long who holds what others wait for may say nothing between transactions."""

WATCH_SECONDS = 2.5
"""For how long at least a session that has been silent for longer is seen to be so, before it is ended."""

LOST = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    # Of the class "invalid transaction state", and so internal errors to psycopg: they are the loss of a connection.
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)
"""What is raised where the database is out of reach, or has ended the session: another may do better."""

_SQL = load(__name__)
HOLDERS_OF_PLACE = _SQL["silent"].replace(":holders", _SQL["holders_of_place"])
HOLDERS_OF_REBUILT = _SQL["silent"].replace(":holders", _SQL["holders_of_rebuilt"])
HOLDERS_OF_HEAD = _SQL["silent"].replace(":holders", _SQL["holders_of_head"])
_log = structlog.get_logger(__name__)


def bound_transactions(connection: Connection[Any], seconds: float = SILENCE_SECONDS) -> None:
    """Have the server end the session when it is silent within a transaction, or its machine is gone."""
    connection.execute(_SQL["transactions"], {"silence": str(seconds)})


def bound_session(connection: Connection[Any]) -> None:
    """Have the server end the session when it is silent: whoever uses it must say something every few seconds."""
    bound_transactions(connection)
    connection.execute(_SQL["session"], {"silence": str(SESSION_SILENCE_SECONDS)})


@contextmanager
def pipelined(connection: Connection[Any]) -> Iterator[None]:
    """Send statements without waiting for their answers, as `connection.pipeline` does, and end with Sync alone."""
    with connection.pipeline() as pipeline:
        pipeline._exit_gen = _Leaving(pipeline)  # type: ignore[method-assign]
        yield


class _Leaving:
    """Ends a pipeline as the library does, less the Flush; `tests/integration/test_silence.py` sees that it works."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __call__(self) -> PQGen[None]:
        try:
            self._pipeline._enqueue_sync()
            yield from self._pipeline._communicate_gen()
        finally:
            yield from send(self._pipeline.pgconn)  # what was too much for one go
            yield from self._pipeline._fetch_gen(flush=False)


class Watch:
    """Watches who holds one thing that others wait for."""

    def __init__(self, silent: str, wanted: Mapping[str, Any]) -> None:
        """`silent` is one of the queries of this module, `wanted` its values; `silence` among them is in seconds."""
        self._silent = silent
        self._wanted = {"silence": float(SILENCE_SECONDS), **wanted}
        self._seen: dict[tuple[Any, ...], float] = {}
        self._looked_at = 0.0

    def look(self, connection: Connection[Any]) -> None:
        """End sessions that were silent at each look for a while; look about once a second, or every few seconds.

        The connection must be in no transaction. What the login may neither see nor end is left alone.
        """
        now = monotonic()
        found = self._find(connection)
        if now - self._looked_at > SILENCE_SECONDS:  # we were stopped ourselves
            self._seen.clear()
        self._looked_at = now
        self._seen = {session: self._seen.get(session, now) for session in found}
        for session, since in self._seen.items():
            if now - since >= WATCH_SECONDS:
                self._end(connection, session)

    def _find(self, connection: Connection[Any]) -> list[tuple[Any, ...]]:
        with as_login(connection):
            return connection.cursor(row_factory=tuple_row).execute(self._silent, self._wanted).fetchall()

    def _end(self, connection: Connection[Any], session: tuple[Any, ...]) -> None:
        pid, application_name, since = session
        with suppress(psycopg.errors.InsufficientPrivilege):
            with as_login(connection):
                connection.execute(_SQL["end"], {"pid": pid})
            _log.warning("silent session ended", pid=pid, application_name=application_name, since=since)


@contextmanager
def as_login(connection: Connection[Any]) -> Iterator[None]:
    """Have the login's own rights for a moment: the sessions to be seen and ended are logged in as it is."""
    with connection.transaction():
        connection.execute("SET LOCAL ROLE NONE")
        yield
