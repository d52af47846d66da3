"""Statements that a writer sends in each commit and a projector in each turn, prepared, through libpq.

A cursor of psycopg takes 60 to 90 µs of this process's time for a statement, which is as much as deciding a transfer.
Going to libpq takes 10 to 20. So a turn that writes 20 transfers for all read models takes an eighth less of the
processors, in the process and in its session together.
"""

import re
import select
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import blake2b
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import Connection
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, Format
from psycopg.pq.abc import PGresult

from domain.journal.arrays import Array
from domain.journal.session import HUNG_SECONDS, Session

BEGIN, COMMIT = "BEGIN", "COMMIT"

_PARAMETER = re.compile(r"%(?:%|\((\w+)\)[bs]?)")
_DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
# Looking up a member of an enumeration calls a function.
_TEXT, _BINARY = Format.TEXT, Format.BINARY
_READ = select.POLLIN
_WRITE = select.POLLOUT
_READ_OR_WRITE = select.POLLIN | select.POLLOUT


class Statement:
    """A query as the server prepares it: with numbered parameters. The query names the type of each array."""

    def __init__(self, name: str, query: str) -> None:
        """`query` is in psycopg's form, such as `SELECT %(position)s`."""
        self.name = f"tallystick_{name}".encode()
        self.parameters: list[str] = []
        self.text = _PARAMETER.sub(self._numbered, query).encode()

    def _numbered(self, found: re.Match[str]) -> str:
        parameter = found[1]
        if parameter is None:
            return "%"
        if parameter not in self.parameters:
            self.parameters.append(parameter)
        return f"${self.parameters.index(parameter) + 1}"


class Bound(Struct, frozen=True):
    """A statement with the values of its parameters."""

    statement: Statement
    values: Mapping[str, Any]
    has_rows: bool = False
    """Whether the answer is to be in the binary form, of which `rows` reads what it holds."""


class Statements:
    """The prepared statements of one connection. Every method that sends raises `psycopg.Error`."""

    def __init__(self, connection: Session) -> None:
        self.connection = connection
        self._pgconn = connection.pgconn
        self._prepared: set[bytes] = set()
        self._transformer = Transformer(connection)
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, _READ)
        self._polled = _READ

    def run(self, bound: Bound) -> PGresult:
        """Send a statement, and return the answer. In no transaction, it is one of its own."""
        self._prepare(bound.statement)
        values, formats = _encoded(bound)
        self._pgconn.send_query_prepared(bound.statement.name, values, formats, bound.has_rows)
        answer = self._only_answer()
        self.connection.require_replicated()
        return _required(answer)

    def run_together(self, *several: Bound) -> list[PGresult]:
        """Send statements without waiting for their answers in between, and return these.

        They end with Sync alone, so that the server's timers of silence run afterwards (silence.py).
        """
        for bound in several:
            self._prepare(bound.statement)
        # Before any is sent, so that one that cannot be encoded leaves no answer unread.
        encoded = list(map(_encoded, several))
        self._pgconn.enter_pipeline_mode()
        for bound, (values, formats) in zip(several, encoded, strict=True):
            self._pgconn.send_query_prepared(bound.statement.name, values, formats, bound.has_rows)
        self._pgconn.pipeline_sync()
        self._flush()
        answers = [self._answer() for _ in several]
        self._next_result()  # of Sync
        self._pgconn.exit_pipeline_mode()
        return self._replicated(answers)

    def ask(self, query: str, values: Mapping[str, Any]) -> list[Any]:
        """Return the rows that a query finds, as tuples. Beside arrays, its values are texts and numbers."""
        return self.rows(self.run(Bound(_named(query), values, has_rows=True)))

    def ask_together(self, *asked: tuple[str, Mapping[str, Any]]) -> list[list[Any]]:
        """Do what `ask` does for several queries, in one round trip."""
        bound = [Bound(_named(query), values, has_rows=True) for query, values in asked]
        return list(map(self.rows, self.run_together(*bound)))

    def change(self, query: str, values: Mapping[str, Any]) -> int:
        """Run a query that finds nothing, and return how many rows it has changed."""
        return self.run(Bound(_named(query), values)).command_tuples or 0

    def copy(self, query: str, blocks: Iterable[bytes]) -> None:
        """Run a COPY from standard input, which gets these blocks of rows. It is ended if making one of them fails."""
        self._pgconn.send_query(query.encode())
        self._flush()
        begun = self._next_result()
        if begun is None or begun.status != ExecStatus.COPY_IN:
            self._next_result()
            self._replicated([begun])
            raise psycopg.ProgrammingError(f"not a COPY from standard input: {query}")
        try:
            for block in blocks:
                while not self._pgconn.put_copy_data(block):
                    self._wait(_WRITE)
                self._flush()
        except BaseException as error:
            if self._pgconn.status == ConnStatus.OK:
                self._end_copy(repr(error).encode())
            raise
        self._replicated([self._end_copy()])

    def _end_copy(self, error: bytes | None = None) -> PGresult | None:
        while not self._pgconn.put_copy_end(error):
            self._wait(_WRITE)
        return self._only_answer()

    def rows(self, result: PGresult) -> list[Any]:
        """Return the rows of an answer in the binary form, as tuples."""
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def forget(self) -> None:
        """Note that the server has forgotten all statements, so that they are prepared again."""
        self._prepared.clear()

    def _prepare(self, statement: Statement) -> None:
        if statement.name not in self._prepared:
            self._pgconn.send_prepare(statement.name, statement.text)
            _required(self._only_answer())
            self._prepared.add(statement.name)

    def _replicated(self, answers: list[PGresult | None]) -> list[PGresult]:
        """Return answers; raise `NotReplicated` if one tells of a commit that may be on this server alone."""
        self.connection.require_replicated()
        return list(map(_required, answers))

    def _only_answer(self) -> PGresult | None:
        """Return the answer of what was sent outside of a pipeline."""
        self._flush()
        return self._answer()

    def _flush(self) -> None:
        """Send the rest that did not fit into the first write."""
        while self._pgconn.flush():
            if self._wait(_READ_OR_WRITE) & _READ:
                self._pgconn.consume_input()

    def _answer(self) -> PGresult | None:
        """Return the answer of the next statement."""
        result = self._next_result()
        self._next_result()  # None: the answer is over
        return result

    def _next_result(self) -> PGresult | None:
        while self._pgconn.is_busy():
            self._wait(_READ)
            self._pgconn.consume_input()
        self._hand_over_notifications()
        return self._pgconn.get_result()

    def _hand_over_notifications(self) -> None:
        """Let the library have what came with an answer. It waits for the next that comes, and libpq has this one."""
        while notification := self._pgconn.notifies():
            if self._pgconn.notify_handler is not None:
                self._pgconn.notify_handler(notification)

    def _wait(self, events: int) -> int:
        if events != self._polled:
            self._poll.modify(self._pgconn.socket, events)
            self._polled = events
        while not (found := self._poll.poll(HUNG_SECONDS * 1000)):
            self.connection.require_server()
        ((_, ready),) = found
        return ready


@cache
def _named(query: str) -> Statement:
    return Statement(blake2b(query.encode(), digest_size=8).hexdigest(), query)


def statements_of(connection: Connection[Any]) -> Statements:
    """Return the prepared statements of a connection, which are the same each time."""
    assert isinstance(connection, Session)
    if connection.statements is None:
        connection.statements = Statements(connection)
    return connection.statements  # type: ignore[no-any-return]


def _encoded(bound: Bound) -> tuple[list[Any], list[int]]:
    """Return the values and their formats, in the order of the statement's parameters."""
    given = [bound.values[name] for name in bound.statement.parameters]
    values = [
        value.encoded if type(value) is Array else None if value is None else str(value).encode()
        for value in given
    ]
    return values, [_BINARY if type(value) is Array else _TEXT for value in given]


def _required(result: PGresult | None) -> PGresult:
    """Return an answer; raise the error if it tells of one."""
    if result is None:
        raise psycopg.OperationalError("the server gave no answer")
    if result.status in _DONE:
        return result
    if result.error_field(DiagnosticField.SQLSTATE) is None:  # libpq's own: the connection is lost
        raise psycopg.OperationalError(result.get_error_message())
    raise error_from_result(result)
