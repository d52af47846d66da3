"""The examination: runs each check with a time limit, on a connection of its own that cannot change anything."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.queries import load
from projections.audit import Sample, choose, one_instant
from scripts.doctor.finding import Finding

CANCEL_AGAIN_SECONDS = 0.2

MAX_SUBJECTS = 20
"""How many subjects of a finding get commands. If there are more, only the first do."""

SQL = load("scripts.doctor.doctor")


_OF_MIGRATIONS = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)


class Limits(NamedTuple):
    """The limits beyond which something is reported."""

    lag_seconds: float = 30.0
    unattended_seconds: float = 5.0
    look_again_seconds: float = 1.0
    overdue_seconds: float = 10.0
    unwitnessed_seconds: float = 900.0
    skew_seconds: float = 2.0
    blocking_seconds: float = 5.0
    idle_in_transaction_seconds: float = 60.0
    transaction_seconds: float = 900.0
    prepared_seconds: float = 300.0
    connections_share: float = 0.8
    free_disk_share: float = 0.1
    transaction_age: int = 1_000_000_000
    rows_to_analyse: int = 10_000


class Scope(NamedTuple):
    """How much is compared: everything, or the streams of the newest `sample_events` and of as many drawn by `seed`."""

    whole: bool
    sample_events: int
    seed: int


class Patient(NamedTuple):
    """What a check examines: the installation, over a connection of its owner that cannot change anything."""

    database: Database
    connection: Connection[Any]
    scope: Scope
    limits: Limits

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query of `doctor.sql`."""
        return SQL[query].rows(self.connection, values)

    def value(self, query: str, **values: Any) -> Any:
        """Return the first column of the only row of a query of `doctor.sql`."""
        ((value, *_),) = self.rows(query, **values)
        return value

    @contextmanager
    def sampled(self) -> Iterator[Sample | None]:
        """Read one state of the database in this context. Yields the sample of it, or None to compare everything."""
        with one_instant(self.connection):
            yield (
                None
                if self.scope.whole
                else choose(self.connection, self.scope.sample_events, self.scope.seed)
            )


class Check(NamedTuple):
    """A check, with its name in words."""

    name: str
    examine: Callable[[Patient], Iterator[Finding]]


class Examined(NamedTuple):
    """What a check found, and how many seconds it took."""

    name: str
    findings: list[Finding]
    seconds: float
    lacks_migration: bool = False
    """Whether the check failed because a table, column or function is missing."""

    lacks_right: bool = False
    """Whether it failed for want of a right."""


def examine(
    database: Database,
    check: Check,
    scope: Scope,
    timeout_seconds: float,
    limits: Limits = Limits(),  # noqa: B008 - it cannot be changed
) -> Examined:
    """Run one check. If it fails or does not end in time, that is a finding too."""
    begun, findings = monotonic(), list[Finding]()
    lacks_migration = lacks_right = False
    try:
        with read_only(database) as connection, _cancelled_after(connection, timeout_seconds):
            findings.extend(check.examine(Patient(database, connection, scope, limits)))
    except psycopg.errors.QueryCanceled:
        findings.append(Finding("check_unfinished", f"“{check.name}” did not end in {timeout_seconds:g} s"))
    except psycopg.OperationalError as error:
        findings.append(Finding("database_unreachable", f"“{check.name}” could not run: {_line(error)}"))
    except psycopg.errors.InsufficientPrivilege as error:
        lacks_right, subjects = True, ({"login": _login(database)},)
        findings.append(Finding("rights_missing", f"“{check.name}”: {_line(error)}", subjects=subjects))
    except Exception as error:  # noqa: BLE001 - one check must not hide the others
        lacks_migration = isinstance(error, _OF_MIGRATIONS)
        words = f"“{check.name}”: {type(error).__name__}: {_line(error)}"
        findings.append(Finding("check_failed", words))
    return Examined(check.name, findings, monotonic() - begun, lacks_migration, lacks_right)


def _line(error: Exception) -> str:
    """Return the message of an error, without the statement that PostgreSQL adds to it."""
    return (str(error).splitlines() or [""])[0]


def _login(database: Database) -> str:
    try:
        with read_only(database) as connection:
            return str(SQL["login"].rows(connection)[0][0])
    except psycopg.Error:
        return "CURRENT_USER"


@contextmanager
def read_only(database: Database) -> Iterator[Connection[Any]]:
    """A connection with the rights of the login, which sees the most, but in which nothing can be changed."""
    with database.connect_as_owner("tallystick doctor") as connection:
        SQL["session"].run(connection)
        yield connection


def examples(rows: Sequence[object], most: int = 5) -> tuple[str, ...]:
    """Return the first rows in words, and how many more there are."""
    shown = tuple(str(row) for row in rows[:most])
    return (*shown, f"and {len(rows) - most} more") if len(rows) > most else shown


@contextmanager
def _cancelled_after(connection: Connection[Any], timeout_seconds: float) -> Iterator[None]:
    """Cancel what the connection executes when the time is over, repeatedly, since it may be between two queries."""
    ended = threading.Event()

    def cancel() -> None:
        seconds = timeout_seconds
        while not ended.wait(seconds):
            connection.cancel_safe()
            seconds = CANCEL_AGAIN_SECONDS

    thread = threading.Thread(target=cancel, name="doctor's patience", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
