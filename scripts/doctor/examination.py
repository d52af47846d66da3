"""The examination: every check by itself, bounded in time, on one connection each that can change nothing."""

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
from scripts.doctor.catalogue import Finding

CANCEL_AGAIN_SECONDS = 0.2

MAX_SUBJECTS = 20
"""For how many of a kind the commands are told: the first, where there are more."""

SQL = load("scripts.doctor.doctor")


_OF_MIGRATIONS = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)


class Limits(NamedTuple):
    """Beyond what something is found to be wrong."""

    lag_seconds: float = 30.0
    unattended_seconds: float = 5.0
    look_again_seconds: float = 1.0
    overdue_seconds: float = 10.0
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
    """How much is compared: everything, or the streams of so many events, the newest and others by a seed."""

    whole: bool
    sample_events: int
    seed: int


class Patient(NamedTuple):
    """What a check examines: the installation, by a connection of its owner that can change nothing."""

    database: Database
    connection: Connection[Any]
    scope: Scope
    limits: Limits

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query of `doctor.sql`."""
        return self.connection.execute(SQL[query], values).fetchall()

    def value(self, query: str, **values: Any) -> Any:
        """Return the first column of the one row of a query of `doctor.sql`."""
        ((value, *_),) = self.rows(query, **values)
        return value

    @contextmanager
    def sampled(self) -> Iterator[Sample | None]:
        """One state of the database to read in, with the sample of it, None if all is to be compared."""
        with one_instant(self.connection):
            yield (
                None
                if self.scope.whole
                else choose(self.connection, self.scope.sample_events, self.scope.seed)
            )


class Check(NamedTuple):
    """A check by its name in words."""

    name: str
    examine: Callable[[Patient], Iterator[Finding]]


class Examined(NamedTuple):
    """What a check found, and how long it took."""

    name: str
    findings: list[Finding]
    seconds: float
    lacks_migration: bool = False
    """Whether it failed for want of a table, a column or a function."""

    lacks_right: bool = False
    """Whether it failed for want of a right."""


def examine(
    database: Database,
    check: Check,
    scope: Scope,
    timeout_seconds: float,
    limits: Limits = Limits(),  # noqa: B008 - it cannot be changed
) -> Examined:
    """Run one check. Whatever becomes of it is a finding: that it failed, or that it did not end in time."""
    begun, findings = monotonic(), list[Finding]()
    lacks_migration = lacks_right = False
    try:
        with read_only(database) as connection, _cancelled_after(connection, timeout_seconds):
            findings.extend(check.examine(Patient(database, connection, scope, limits)))
    except psycopg.errors.QueryCanceled:
        findings.append(Finding("check_unfinished", f"“{check.name}” did not end in {timeout_seconds:g} s"))
    except psycopg.OperationalError as error:
        findings.append(Finding("database_unreachable", f"“{check.name}” could not be made: {_line(error)}"))
    except psycopg.errors.InsufficientPrivilege as error:
        lacks_right, subjects = True, ({"login": _login(database)},)
        findings.append(Finding("rights_missing", f"“{check.name}”: {_line(error)}", subjects=subjects))
    except Exception as error:  # noqa: BLE001 - one check must not hide the others
        lacks_migration = isinstance(error, _OF_MIGRATIONS)
        words = f"“{check.name}”: {type(error).__name__}: {_line(error)}"
        findings.append(Finding("check_failed", words))
    return Examined(check.name, findings, monotonic() - begun, lacks_migration, lacks_right)


def _line(error: Exception) -> str:
    """Return what an error says, without the statement that PostgreSQL shows with it."""
    return (str(error).splitlines() or [""])[0]


def _login(database: Database) -> str:
    try:
        with read_only(database) as connection:
            return str(connection.execute(SQL["login"]).fetchall()[0][0])
    except psycopg.Error:
        return "CURRENT_USER"


@contextmanager
def read_only(database: Database) -> Iterator[Connection[Any]]:
    """A connection with the rights of the login, which sees most, and without that of changing anything."""
    with database.connect_as_owner("tallystick doctor") as connection:
        connection.execute(SQL["session"])
        yield connection


def examples(rows: Sequence[object], most: int = 5) -> tuple[str, ...]:
    """Return the first of many in words, and how many more there are."""
    shown = tuple(str(row) for row in rows[:most])
    return (*shown, f"and {len(rows) - most} more") if len(rows) > most else shown


@contextmanager
def _cancelled_after(connection: Connection[Any], timeout_seconds: float) -> Iterator[None]:
    """Cancel what the connection executes when the time is over, again and again: it may be between two queries."""
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
