"""Every test that needs PostgreSQL gets a real one: one server for the run, a fresh database for each test."""

import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from uuid import uuid4

import psycopg
import pytest
import structlog
from hypothesis import settings

from domain.journal.database import Database
from tests.databases import Databases
from tests.standbys import STANDBY_URL, base_backup, commit_at_standbys, is_of_replica

if TYPE_CHECKING:
    from scripts.serving.embedded_postgres import EmbeddedPostgres

# Timing never decides a test, and the machine may be busy.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

FOLDER = Path(__file__).parent
URL = "TALLYSTICK_TEST_DATABASE_URL"
RUN = "TALLYSTICK_TEST_RUN"
MEMORY_BYTES = 8 * 1024**3


@contextmanager
def server() -> Iterator[str]:
    """The PostgreSQL server of a test run, by its URL."""
    with _started() as (postgres, folder), ExitStack() as stack:
        if is_of_replica():
            stack.enter_context(_standby_of(postgres, folder))
        yield postgres.superuser_url


@contextmanager
def _started() -> Iterator[tuple["EmbeddedPostgres", Path]]:
    """A PostgreSQL server, and the folder of its data."""
    # Imported here, because few processes start a server.
    from scripts.serving import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="tallystick-test-", dir=_fast_folder()) as folder:
        postgres = embedded_postgres.EmbeddedPostgres(Path(folder) / "data")
        with _settings_of_tests():
            postgres.start()
        try:
            yield postgres, Path(folder)
        finally:
            postgres.stop()


@contextmanager
def _settings_of_tests() -> Iterator[None]:
    """What servers are started with meanwhile."""
    from scripts.serving import embedded_postgres

    with (
        # Each worker keeps several services running.
        patch.dict(embedded_postgres.SETTINGS, max_connections="400"),
        # All of the cache is searched whenever a database is made or dropped.
        patch.object(embedded_postgres, "MAX_SHARED_BUFFERS", embedded_postgres.MIN_SHARED_BUFFERS),
    ):
        yield


@contextmanager
def _standby_of(primary: "EmbeddedPostgres", folder: Path) -> Iterator[None]:
    """A standby that has applied each commit before it is acknowledged."""
    from scripts.serving.embedded_postgres import EmbeddedPostgres

    base_backup(folder / "data", folder / "standby")
    standby = EmbeddedPostgres(folder / "standby")
    with _settings_of_tests():
        standby.start()
    try:
        commit_at_standbys(primary)
        with environment(STANDBY_URL, standby.superuser_url):
            yield
    finally:
        standby.stop()


def _fast_folder() -> str | None:
    """Return a folder in memory with room for what tests write. None if there is none.

    Thousands of databases and hundreds of servers are made and removed, and half of that time is spent waiting for the
    disk. Nothing here needs to outlive the run, and a process that is killed leaves in memory what it leaves on a disk.
    """
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > MEMORY_BYTES
    return str(memory) if has_room else None


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """An environment variable that the workers inherit."""
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


@contextmanager
def connected(url: str, run: str) -> Iterator[Databases]:
    """The databases of a run on a server."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield Databases(connection, url, run)


def pytest_configure(config: pytest.Config) -> None:
    """Start the server unless the caller names one. Workers use the server of the process that starts them."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    stack = ExitStack()
    config.add_cleanup(stack.close)
    if URL not in os.environ:
        stack.enter_context(environment(URL, stack.enter_context(server())))
    run = f"run_{uuid4().hex[:12]}"
    stack.enter_context(environment(RUN, run))
    stack.callback(_drop_templates, os.environ[URL], run)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without looking for garbage: half a million objects are made here, and they stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker begin with long tests, go on with those of whole programs, and end with short ones, so that all
    workers end at the same time.

    Each worker gets an equal stretch of the order and then steals from the ends of others' (`pytest --dist worksteal`).
    """
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    _deal([item for item in items if _takes_long(item)], shares)
    _deal([item for item in items if not _takes_long(item) and not _is_short(item)], shares)
    short = [item for item in items if not _takes_long(item) and _is_short(item)]
    ordered: list[pytest.Item] = []
    for number, share in enumerate(shares):
        stretch = (len(items) - len(ordered)) // (workers - number)
        room = max(0, stretch - len(share))
        ordered += share + short[:room]
        del short[:room]
    items[:] = ordered


def _takes_long(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("long", "chaos"))


def _is_short(item: pytest.Item) -> bool:
    """Whether a test is in a folder where a test takes hundredths of a second, unless it is marked as long."""
    return _folder_of(item.path) in ("contract", "unit")


@cache
def _folder_of(path: Path) -> str:
    return path.relative_to(FOLDER).parts[0]


def _deal(items: list[pytest.Item], shares: list[list[pytest.Item]]) -> None:
    """Give each file's tests to the smallest share. They stay together, because a file sets things up once a worker."""
    for _, of_file in groupby(items, key=lambda item: item.path):
        min(shares, key=len).extend(of_file)


def _drop_templates(url: str, run: str) -> None:
    with connected(url, run) as databases:
        databases.drop_templates()


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Fail a test that sets up this process as the service does its own: it is the process of the next tests as well.

    Their loggers would be made once, each for the output that the test at the time was given, and fail once that is
    closed: in whichever test logs next, and only in some orders of the tests.
    """
    before = _set_up()
    yield
    assert _set_up() == before, "what serves sets up its process; run it in one of its own"


def _set_up() -> tuple[object, ...]:
    """What a process of the service changes for all that runs in it."""
    return (
        structlog.get_config()["cache_logger_on_first_use"],
        sys.excepthook,
        threading.excepthook,
        signal.getsignal(signal.SIGTERM),
    )


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A separate folder in place of pytest's. Every session of pytest closes the common parent of its folders to other
    users, including the user who runs PostgreSQL.
    """
    with _separate_folder(request) as folder:
        yield folder


@pytest.fixture(scope="module")
def module_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The same for all tests of a module, in place of `tmp_path_factory`."""
    with _separate_folder(request) as folder:
        yield folder


@contextmanager
def _separate_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    prefix, place = "tallystick-test-", _place(request)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _place(request: pytest.FixtureRequest) -> str | None:
    """Return the folder in memory. None if it must be the disk: for tests that kill, because commits take as long there
    as in use, and where no program may be run from memory, because some tests install one.
    """
    memory = _fast_folder()
    if memory is None or request.node.get_closest_marker("chaos"):
        return None
    return None if os.statvfs(memory).f_flag & os.ST_NOEXEC else memory


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Makes databases on a real PostgreSQL."""
    with connected(os.environ[URL], os.environ[RUN]) as databases:
        yield databases


@pytest.fixture(scope="session")
def databases_apart() -> Iterator[Databases]:
    """Makes databases on a server of this worker alone.

    A session that waits inside a COPY or for a client that does not read holds up everyone who drops a database of the
    server: PostgreSQL waits until every session has closed the files of the database.
    """
    with _started() as (postgres, _), connected(postgres.superuser_url, os.environ[RUN]) as databases:
        yield databases


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[Database]:
    """A separate database, not migrated yet."""
    with databases.empty() as database:
        yield database


@pytest.fixture
def migrated_database(databases: Databases) -> Iterator[Database]:
    """A separate, migrated database without any projection installed."""
    with databases.migrated() as database:
        yield database


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A separate database, migrated, with every projection installed.

    The function in `@pytest.mark.prepared(by=prepare)` has filled it. `@pytest.mark.apart` puts it on another server.
    """
    marked, is_apart = map(request.node.get_closest_marker, ("prepared", "apart"))
    databases: Databases = request.getfixturevalue("databases_apart" if is_apart else "databases")
    with databases.installed(marked.kwargs["by"] if marked else None) as database:
        yield database


@pytest.fixture
def owner(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the superuser, with the test's schema as search path."""
    with database.connect_as_owner("test owner") as connection:
        yield connection
