"""Fresh databases for tests: copies of a template, in a fifth of the time that making each would take."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from psycopg import Connection
from psycopg.errors import ObjectInUse
from psycopg.sql import SQL, Identifier

from domain.journal import migrations
from domain.journal.database import Database
from domain.journal.migrations import migrate
from projections.registry import install

Preparation = Callable[[Database], object]
"""Fills a database, always in the same way."""


class Databases:
    """Makes a database for each test on a server, and drops it.

    The schema of the installation is named after the run, so that code that takes the default name for granted fails.
    `connection` is a superuser's, to the server's own database, in autocommit mode.
    """

    def __init__(self, connection: Connection[Any], server_url: str, run: str) -> None:
        self._connection = connection
        self._server_url = server_url
        self._run = run
        self._made: set[str] = set()

    @contextmanager
    def empty(self) -> Iterator[Database]:
        """An empty database."""
        with self._copy_of("template1") as database:
            yield database

    @contextmanager
    def migrated(self) -> Iterator[Database]:
        """A database with an empty journal and no projection installed."""
        with self._copy_of(self._prepared(migrate)) as database:
            yield database

    @contextmanager
    def installed(self, prepare: Preparation | None = None) -> Iterator[Database]:
        """A database as it is after the service's start: an empty journal and every projection installed.

        `prepare` has filled the template it is copied from, once per run.
        """
        template = self._prepared(_migrate_and_install)
        if prepare is not None:
            template = self._prepared(prepare, template)
        with self._copy_of(template) as database:
            yield database

    @contextmanager
    def closed(self, database: Database) -> Iterator[None]:
        """A database of these out of reach meanwhile: its sessions end, and it lets no other in."""
        name = urlsplit(database.url).path.removeprefix("/")
        allow = SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        self._connection.execute(allow.format(Identifier(name), SQL("false")))
        end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        self._connection.execute(end, (name,))
        try:
            yield
        finally:
            self._connection.execute(allow.format(Identifier(name), SQL("true")))

    def drop_templates(self) -> None:
        """Drop the templates."""
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        for (name,) in self._connection.execute(query, (f"{self._run}_",)).fetchall():
            self._drop(name)

    @contextmanager
    def _copy_of(self, template: str) -> Iterator[Database]:
        name = f"test_{uuid4().hex[:12]}"
        self._create(name, template)
        if template != "template1":
            # A copy of a database does not keep the rights that migrating revoked.
            revoke = SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC")
            self._connection.execute(revoke.format(Identifier(name)))
        try:
            yield self._named(name)
        finally:
            self._drop(name)

    def _prepared(self, prepare: Preparation, origin: str = "template1") -> str:
        """Return the name of a template. The first worker that needs it makes it."""
        name = hashlib.sha256(f"{prepare.__module__}.{prepare.__qualname__}".encode()).hexdigest()[:12]
        template = f"{self._run}_{name}"
        if template not in self._made:
            self._ensure(template, prepare, origin)
            self._made.add(template)
        return template

    def _ensure(self, template: str, prepare: Preparation, origin: str) -> None:
        """Make a template unless there is one. Those who want another do not wait for it."""
        self._connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (template,))
        try:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if self._connection.execute(query, (template,)).fetchone() is None:
                self._make(template, prepare, origin)
        finally:
            self._connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (template,))

    def _make(self, template: str, prepare: Preparation, origin: str) -> None:
        """Make a template. It gets its name at the end, so that an unfinished one is never used."""
        unfinished = f"{template}_{uuid4().hex[:12]}"
        self._create(unfinished, origin)
        prepare(self._named(unfinished))
        rename = SQL("ALTER DATABASE {} RENAME TO {}")
        self._connection.execute(rename.format(Identifier(unfinished), Identifier(template)))

    def _create(self, name: str, template: str) -> None:
        # The default strategy writes all pages to the log too, which is twice the work.
        create = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self._connection.execute(create.format(Identifier(name), Identifier(template)))

    def _drop(self, name: str) -> None:
        """Drop a database. Fails if a test has left a session in it.

        PostgreSQL waits 5 s for sessions that end, and for autovacuum. On a busy machine that can be too short.
        """
        for attempts_left in (2, 1, 0):
            try:
                self._connection.execute(SQL("DROP DATABASE {}").format(Identifier(name)))
                return
            except ObjectInUse:
                if not attempts_left:
                    raise

    def _named(self, name: str) -> Database:
        return Database(urlsplit(self._server_url)._replace(path=f"/{name}").geturl(), self._run)


@contextmanager
def installation_before(migration: str, database: Database) -> Iterator[Database]:
    """An installation of a release without a migration and those after it, beside another in its database."""
    known = migrations._known()
    older = Database(database.url, f"test_{uuid4().hex[:12]}")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migrations, "_known", lambda: [one for one in known if one[0] < migration])
        migrate(older)
    yield older
    with database.connect_as_owner("test") as connection:
        connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(older.schema)))


def _migrate_and_install(database: Database) -> None:
    migrate(database)
    install(database)
