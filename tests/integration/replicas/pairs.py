"""A primary and a standby of it, each with a service: the standby's only reads."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import psycopg

from domain.journal.database import Database
from domain.journal.migrations import migrate
from projections.registry import install
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.contract.serving import KEY, Served, replica_of, serving_on
from tests.projecting import eventually
from tests.standbys import base_backup


class Servers(NamedTuple):
    """A primary and a standby that follows it."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres

    def on_standby(self, statement: str) -> Any:
        """Run a statement on the standby and return the value that it finds."""
        return run(self.standby, statement)

    def replayed(self) -> None:
        """Wait until the standby has replayed what the primary has committed by now."""
        target = run(self.primary, "SELECT pg_current_wal_flush_lsn()::text")
        eventually(lambda: self.on_standby(f"SELECT pg_last_wal_replay_lsn() >= '{target}'") is True)

    @contextmanager
    def not_replaying(self) -> Iterator[None]:
        """The standby receives and replays nothing more meanwhile."""
        self.on_standby("SELECT pg_wal_replay_pause()")
        eventually(lambda: self.on_standby("SELECT pg_get_wal_replay_pause_state()") == "paused")
        try:
            yield
        finally:
            self.on_standby("SELECT pg_wal_replay_resume()")


class Pair(NamedTuple):
    """The servers, the service of the primary, and the addresses of two replicas. One passes on, the other refuses."""

    servers: Servers
    served: Served
    forwarding: str
    refusing: str

    @property
    def primary(self) -> EmbeddedPostgres:
        """The server of the installation."""
        return self.servers.primary

    @property
    def standby(self) -> EmbeddedPostgres:
        """The server of its copy."""
        return self.servers.standby

    @property
    def copy(self) -> Database:
        """The copy of the installation."""
        return Database(self.standby.superuser_url, self.served.database.schema)

    def replayed(self) -> None:
        """Wait until the standby has replayed what the primary has committed by now."""
        self.servers.replayed()

    def not_replaying(self) -> AbstractContextManager[None]:
        """The standby receives and replays nothing more meanwhile."""
        return self.servers.not_replaying()


def run(server: EmbeddedPostgres, statement: str) -> Any:
    """Run a statement as superuser and return the value that it finds."""
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return next(iter(cursor.fetchone() or ())) if cursor.description else None


def caller(url: str, key: str | None = KEY) -> httpx2.Client:
    """A client of a service."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.Client(base_url=url, headers=headers, timeout=60.0, trust_env=False, verify=False)


def installed(primary: EmbeddedPostgres) -> None:
    """Make an installation on a server."""
    database = Database(primary.superuser_url)
    migrate(database)
    install(database)


@contextmanager
def servers(folder: Path, prepare: Callable[[EmbeddedPostgres], None] = installed) -> Iterator[Servers]:
    """A primary with what `prepare` makes there, an installation by default, and a standby that follows it."""
    with ExitStack() as stack:
        primary = EmbeddedPostgres(folder / "a")
        stack.callback(primary.stop)
        primary.start()
        prepare(primary)
        base_backup(folder / "a", folder / "b")
        standby = EmbeddedPostgres(folder / "b")
        stack.callback(standby.stop)
        standby.start()
        yield Servers(primary, standby)


@contextmanager
def paired(folder: Path) -> Iterator[Pair]:
    """A primary and its standby with their services."""
    with ExitStack() as stack:
        both = stack.enter_context(servers(folder))
        database = Database(both.primary.superuser_url)
        served = stack.enter_context(serving_on(database))
        settings = served.settings
        copy = Database(both.standby.superuser_url)
        forwarding = stack.enter_context(replica_of(settings, served.url, copy, forward=True))
        refusing = stack.enter_context(replica_of(settings, served.url, copy))
        yield Pair(both, served, forwarding, refusing)


def write(client: httpx2.Client, ledger: str) -> int:
    """Post a transaction from `a` to `b`; return its position."""
    entries = [
        {"account": account, "direction": direction, "amount": 10}
        for account, direction in (("a", "debit"), ("b", "credit"))
    ]
    path, headers = f"/v1/ledgers/{ledger}/transactions", {"Idempotency-Key": uuid4().hex}
    answer = client.post(path, json={"entries": entries}, headers=headers)
    assert answer.status_code == 201, answer.text
    return int(answer.headers["Ledger-Position"])
