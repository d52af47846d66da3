"""Ends the sessions of silent clients, so that one client that hangs does not stop all others.

A process that was stopped, or whose machine vanished, keeps its locks as long as its session lives. If it is told to,
the server ends the session after some seconds without a word: by timers of its own, and by the keepalives of TCP if a
machine is gone. The client wakes up to a lost connection, which it must be ready for anyway.

PostgreSQL starts these timers when it reports that it is ready, and stops them with the next message. A pipeline of
psycopg ends with Sync, which is answered with that report, and then with Flush, which is not: Flush stops the timers,
and nothing starts them again (measured on 15 and 18, with four forms of pipeline). So pipelines here end with Sync
alone. `transaction_timeout` would end such a transaction too, but PostgreSQL 16 does not have it, and it would also end
a transaction that is busy with a large batch.

No timer runs in the middle of a COPY, of a request that arrived in part, or of an answer that the client does not read.
There the waiting processes help themselves: they watch the session that they wait for, and end it if its server process
keeps waiting for its client.
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

from domain.journal.queries import Query, load

SILENCE_SECONDS = 8
"""How long the holder of something that others wait for may be silent within a transaction."""

SESSION_SILENCE_SECONDS = 12
"""How long the holder of something that others wait for may be silent between transactions."""

WATCH_SECONDS = 2.5
"""How long a silent session is observed, at least, before it is ended."""

LOST = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    # psycopg counts these two as internal errors ("invalid transaction state"), but they mean a lost connection.
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)
"""The errors raised if the database is out of reach or has ended the session. Another session may succeed."""

_SQL = load(__name__)
HOLDERS_OF_PLACE = _SQL["silent"].fill(holders=_SQL["holders_of_place"])
HOLDERS_OF_REBUILT = _SQL["silent"].fill(holders=_SQL["holders_of_rebuilt"])
HOLDERS_OF_HEAD = _SQL["silent"].fill(holders=_SQL["holders_of_head"])
_log = structlog.get_logger(__name__)


def bound_transactions(connection: Connection[Any], seconds: float = SILENCE_SECONDS) -> None:
    """Have the server end the session if it is silent within a transaction, or if its machine is gone."""
    _SQL["transactions"].run(connection, {"silence": str(seconds)})


def bound_session(connection: Connection[Any]) -> None:
    """Have the server end the session if it is silent, in a transaction or not: send something every few seconds."""
    bound_transactions(connection)
    _SQL["session"].run(connection, {"silence": str(SESSION_SILENCE_SECONDS)})


@contextmanager
def pipelined(connection: Connection[Any]) -> Iterator[None]:
    """Send statements without waiting for their answers, as `connection.pipeline` does, and end with Sync alone."""
    with connection.pipeline() as pipeline:
        pipeline._exit_gen = _Leaving(pipeline)  # type: ignore[method-assign]
        yield


class _Leaving:
    """Ends a pipeline as the library does, but without the Flush. `tests/integration/test_silence.py` checks it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __call__(self) -> PQGen[None]:
        try:
            self._pipeline._enqueue_sync()
            yield from self._pipeline._communicate_gen()
        finally:
            yield from send(self._pipeline.pgconn)  # the rest that did not fit into the first write
            yield from self._pipeline._fetch_gen(flush=False)


class Watch:
    """Watches the holder of one thing that others wait for."""

    def __init__(self, silent: Query, wanted: Mapping[str, Any]) -> None:
        """`silent` is one of the queries of this module, `wanted` holds its parameters, with `silence` in seconds."""
        self._silent = silent
        self._wanted = {"silence": float(SILENCE_SECONDS), **wanted}
        self._seen: dict[tuple[Any, ...], float] = {}
        self._looked_at = 0.0

    def look(self, connection: Connection[Any]) -> None:
        """End sessions that were silent at each look for `WATCH_SECONDS`. Look every second or every few seconds.

        The connection must not be in a transaction. Sessions that the login may not see or end are left alone.
        """
        now = monotonic()
        found = self._find(connection)
        if now - self._looked_at > SILENCE_SECONDS:  # this process was stopped itself
            self._seen.clear()
        self._looked_at = now
        self._seen = {session: self._seen.get(session, now) for session in found}
        for session, since in self._seen.items():
            if now - since >= WATCH_SECONDS:
                self._end(connection, session)

    def _find(self, connection: Connection[Any]) -> list[tuple[Any, ...]]:
        with as_login(connection):
            return self._silent.rows(connection, self._wanted)

    def _end(self, connection: Connection[Any], session: tuple[Any, ...]) -> None:
        pid, application_name, since = session
        with suppress(psycopg.errors.InsufficientPrivilege):
            with as_login(connection):
                _SQL["end"].run(connection, {"pid": pid})
            _log.warning("silent session ended", pid=pid, application_name=application_name, since=since)


@contextmanager
def as_login(connection: Connection[Any]) -> Iterator[None]:
    """Use the login's own rights for a moment: the sessions to see and to end were opened by the same login."""
    with connection.transaction():
        connection.execute("SET LOCAL ROLE NONE")
        yield
