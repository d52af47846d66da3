"""Installations that witness each other: each has a journal, a tree and a key of its own, advanced step by step."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

from psycopg import Connection

from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.journal.reader import head_of
from domain.model.events import Recorded
from domain.model.installation.checkpoints import WitnessedLog
from projections.engine.batches import Claim, advance, read_batch, take_over
from projections.read_models.seals import PROJECTION
from projections.registry import install
from projections.transparency.checkpoints import take_keys
from projections.transparency.signer import seal
from projections.witnessing.logs import Look, read_logs, read_looks, watch
from projections.witnessing.sources import DatabaseLog, Source
from projections.witnessing.witness import witness_all
from tests.databases import Databases
from tests.ledgers import history, open_accounts, outcomes, running, transfer


class Installation(NamedTuple):
    """One installation, and the connection of its only projector."""

    name: str
    database: Database
    connection: Connection[Any]

    def log(self) -> DatabaseLog:
        """The log as another installation of the placement reads it."""
        return DatabaseLog(self.name, self.database)

    def open(self) -> None:
        """Open a ledger with two accounts."""
        with running(self.database) as ledger:
            open_accounts(ledger, "a", "b")

    def trade(self, transfers: int = 1) -> None:
        """Do business."""
        with running(self.database) as ledger:
            outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(transfers))).result())

    def seal(self, *seeds: bytes) -> int:
        """Bring the tree to the head and sign it. Return the size."""
        head = head_of(self.connection)
        claim = Claim(PROJECTION, 1, uuid4(), "running")
        take_over(self.connection, claim)
        position = self.position
        while position < head:
            batch = read_batch(self.connection, PROJECTION, position, head)
            assert advance(self.connection, claim, batch, 0.0, None)
            position = batch.upto
        assert seal(self.connection, take_keys(self.connection, seeds)) is not None
        return head

    @property
    def position(self) -> int:
        """How far the tree is."""
        query = "SELECT position FROM projection_versions WHERE name = 'seals' AND live"
        ((position,),) = self.connection.execute(query).fetchall()
        return int(position)

    def look(self, *sources: Source, seeds: Sequence[bytes] = ()) -> None:
        """Look once at other logs."""
        watch(self.connection, *(source.name for source in sources))
        with ThreadPoolExecutor(1) as threads:
            witness_all(self.connection, sources, seeds, threads)

    def witnessed(self, name: str) -> WitnessedLog:
        """What was witnessed last of a log."""
        return read_logs(self.connection, name)[name]

    def looked(self, name: str) -> Look:
        """How the last look at a log went."""
        return next(look for look in read_looks(self.connection) if look.name == name)

    def records(self) -> list[Recorded]:
        """Every record of witnessing."""
        return [event for event in history(self.database) if event.stream.startswith("-/witnesses/")]


@contextmanager
def installation(databases: Databases, name: str) -> Iterator[Installation]:
    """An installation with a ledger. Its origin is its own, which copies of a template would share."""
    with databases.empty() as database:
        migrate(database)
        install(database)
        with database.connect("test projector") as connection:
            made = Installation(name, database, connection)
            made.open()
            yield made
