"""Every test that needs PostgreSQL gets a real one: one server for the whole run, a fresh schema for each test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.journal.migrations import migrate

URL = "TALLYSTICK_TEST_DATABASE_URL"
MEMORY_BYTES = 8 * 1024**3


class Server:
    """The PostgreSQL server of a test run: started by the process that starts the workers, for all of them."""

    def __init__(self) -> None:
        from scripts.embedded_postgres import EmbeddedPostgres  # only the process that starts it needs it

        self._folder = tempfile.TemporaryDirectory(prefix="tallystick-test-", dir=_fast_folder())
        self._postgres = EmbeddedPostgres(Path(self._folder.name) / "data")

    def start(self) -> str:
        """Start it and return its URL."""
        self._postgres.start()
        return self._postgres.url

    def stop(self) -> None:
        """Stop it and remove its files."""
        self._postgres.stop()
        self._folder.cleanup()


def _fast_folder() -> str | None:
    """Return a folder in memory with room for the server, None if there is none.

    Thousands of fresh schemas are made and dropped, and waiting for the disk is half of what that takes. Nothing here
    outlives the run; what is killed to see what the disk has kept has a server of its own.
    """
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > MEMORY_BYTES
    return str(memory) if has_room else None


_server = pytest.StashKey[Server]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the server, unless this is a worker or the caller names a server of its own."""
    if hasattr(config, "workerinput") or URL in os.environ or config.option.collectonly:
        return
    server = Server()
    os.environ[URL] = server.start()
    config.stash[_server] = server


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server that this process started."""
    if server := config.stash.get(_server, None):
        del os.environ[URL]
        server.stop()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of its own, in place of pytest's: every session of pytest closes the common parent of those to others,
    and to the user that PostgreSQL runs as among them."""
    with tempfile.TemporaryDirectory(prefix="tallystick-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a superuser of a real PostgreSQL."""
    return os.environ[URL]


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[Database]:
    """A schema of its own, not migrated yet; dropped afterwards."""
    database = Database(postgres_url, f"test_{uuid4().hex[:12]}")
    yield database
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(database.schema)))


@pytest.fixture
def database(empty_database: Database) -> Database:
    """A migrated schema of its own."""
    migrate(empty_database)
    return empty_database


@pytest.fixture
def owner(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the superuser, its search path the schema of the test."""
    with database.connect_as_owner("test owner") as connection:
        yield connection
