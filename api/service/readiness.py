"""Whether the service can work now: the database answers and is migrated, and the writer can write."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from psycopg import Connection, errors
from psycopg.rows import tuple_row

from api.service.installations import Installations
from api.service.service import Service
from domain.journal.migrations import latest
from domain.journal.outage import DENIALS, is_denied
from domain.model.commands import Decision, Read, Repeatable
from domain.model.errors import JournalUnavailable, LedgerError
from domain.model.events import Context
from domain.model.streams import ledger_stream
from domain.model.times import Instant

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


class Probe(Repeatable):
    """A command that takes the whole path of a write, up to the head's lock, and records nothing."""

    context: ClassVar[Context] = Context("service", "readiness")

    def streams(self) -> Sequence[str]:
        """Return a stream, which need not exist."""
        return (ledger_stream("readiness"),)

    def decide(self, read: Read, now: Instant) -> Decision:
        """Decide to record nothing."""
        return Decision((), ledger_stream("readiness"))


async def check(service: Service) -> Readiness:
    """Return the result of each check, after about `PATIENCE_SECONDS` for each of two at most.

    If the writer itself says why it cannot write, raises that `JournalUnavailable`. If the database denies the service
    a table, raises the database's error.
    """
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


def require(readiness: Readiness) -> None:
    """Raise `JournalUnavailable` unless the service is ready. Its reason is the first check that failed."""
    for name, failure in zip(readiness._fields, readiness, strict=True):
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
