"""Whether the service can work now: the database answers and is migrated, and the writer can write.

A service that only reads has no writer: its copy must not be too far behind.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from psycopg import Connection, errors
from psycopg.rows import tuple_row

from api.service.installations import Installations
from api.service.replica import Replica
from api.service.service import Service
from domain.journal.migrations import latest
from domain.journal.outage import DENIALS, is_denied
from domain.model.commands import Decision, Read, Repeatable
from domain.model.errors import JournalUnavailable, LedgerError
from domain.model.events import Context
from domain.model.streams import INSTALLATION, ledger_stream
from domain.model.times import Instant
from projections.running.replay import read_replay

PATIENCE_SECONDS = 2.0

# PostgreSQL skips a schema of the search path that the session may not use, so its tables seem not to exist.
_IS_HIDDEN = """
    SELECT 1 FROM pg_catalog.pg_namespace
    WHERE nspname = ANY (
        SELECT trim(both '" ' from part)
        FROM pg_catalog.regexp_split_to_table(pg_catalog.current_setting('search_path'), ',') AS part
    ) AND nspname <> 'pg_temp' AND NOT pg_catalog.has_schema_privilege(oid, 'USAGE')
"""


class Readiness(NamedTuple):
    """The checks by name. None if passed, else what is wrong in one word."""

    database: str | None
    migrations: str | None
    writer: str | None

    @property
    def is_ready(self) -> bool:
        """Whether every check passed."""
        return not any(self)


class ReplicaReadiness(NamedTuple):
    """The checks of a service that only reads. None if passed, else what is wrong in one word."""

    database: str | None
    migrations: str | None
    replay: str | None

    @property
    def is_ready(self) -> bool:
        """Whether every check passed."""
        return not any(self)


class Probe(Repeatable):
    """A command that takes the whole path of a write, up to the head's lock, and records nothing."""

    context: ClassVar[Context] = Context("service", "readiness")
    ledger: ClassVar[str] = INSTALLATION

    def streams(self) -> Sequence[str]:
        """Return a stream, which need not exist."""
        return (ledger_stream("readiness"),)

    def decide(self, read: Read, now: Instant) -> Decision:
        """Decide to record nothing."""
        return Decision((), ledger_stream("readiness"))


async def check(service: Service) -> Readiness | ReplicaReadiness:
    """Return the result of each check.

    If the writer itself says why it cannot write, raises that `JournalUnavailable`. If the database denies the service
    a table, raises the database's error.
    """
    return await (
        _check_writing(service) if service.replica is None else _check_reading(service, service.replica)
    )


async def _check_reading(service: Service, replica: Replica) -> ReplicaReadiness:
    """Check that the copy can be read and is not too far behind, for about `PATIENCE_SECONDS` at most."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            is_current = await service.look_up(_is_migrated)
            replay = await service.look_up(read_replay)
    except (LedgerError, TimeoutError):
        return ReplicaReadiness("unreachable", "unknown", "unknown")
    is_near = replay.is_within(replica.max_replay_lag_seconds)
    return ReplicaReadiness(None, None if is_current else "pending", None if is_near else "behind")


async def _check_writing(service: Service) -> Readiness:
    """Check that commands are decided, for about `PATIENCE_SECONDS` for each of two at most."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            is_current = await service.look_up(_is_migrated)
    except (LedgerError, TimeoutError):
        return Readiness("unreachable", "unknown", "unknown")
    if not is_current:
        return Readiness(None, "pending", "unknown")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await service.writer.perform(Probe())
    except (LedgerError, TimeoutError) as error:
        if isinstance(error, JournalUnavailable) and error.reason != "unreachable":
            raise
        return Readiness(None, None, "stopped")
    return Readiness(None, None, None)


async def is_ready(service: Service) -> bool:
    """Tell whether an installation is ready."""
    return await trouble_of(service) is None


async def trouble_of(service: Service) -> str | None:
    """Return why an installation is not ready, in one word, None if it is ready."""
    try:
        require(await check(service))
    except JournalUnavailable as unavailable:
        return unavailable.reason
    except LedgerError:
        return "unknown"
    except Exception as error:
        if not is_denied(error):
            raise
        DENIALS.note(error)
        return "denied"
    return None


async def goes_on_without_home(installations: Installations) -> bool:
    """Tell whether requests about ledgers of a placement can be served although home cannot be used.

    They can while this process still believes keys and another installation is ready.
    """
    if not installations.home.keys.are_believed:
        return False
    others = [service for _, service in installations.all()[1:]]
    return None in await asyncio.gather(*map(trouble_of, others))


def require(readiness: Readiness | ReplicaReadiness) -> None:
    """Raise `JournalUnavailable` unless the service is ready. Its reason is the first check that failed."""
    for name, failure in readiness._asdict().items():
        if failure is not None:
            raise JournalUnavailable(f"{name}_{failure}", "The service is not ready.")


def _is_migrated(connection: Connection[Any]) -> bool:
    """Tell whether all migrations are applied. Raises `UndefinedTable` if the service may not look into its schema."""
    query = "SELECT 1 FROM migrations WHERE name = %(name)s"
    try:
        return (
            connection.cursor(row_factory=tuple_row).execute(query, {"name": latest()}).fetchone() is not None
        )
    except errors.UndefinedTable:
        if connection.cursor(row_factory=tuple_row).execute(_IS_HIDDEN).fetchone() is not None:
            raise
        return False
