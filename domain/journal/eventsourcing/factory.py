"""The eventsourcing library's infrastructure factory for this journal.

It is chosen by `PERSISTENCE_MODULE=domain.journal.eventsourcing.factory:JournalFactory`. It makes no tables: DDL is in
migrations only.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

from eventsourcing.persistence import InterfaceError, Mapper, OperationalError, Transcoder
from eventsourcing.postgres import (
    PostgresDatastore,
    PostgresFactory,
    TPostgresTrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic
from psycopg import Connection
from psycopg.rows import dict_row

from domain.journal.database import Database, ReadOnlyDatabase
from domain.journal.eventsourcing.mapper import JournalMapper
from domain.journal.eventsourcing.recorder import JournalProcessRecorder, JournalRecorder, SnapshotRecorder
from domain.journal.outage import is_lost, is_overtaken, outage_of
from domain.journal.read_connections import Readers
from domain.journal.silence import bound_transactions

DATABASE_URL = "TALLYSTICK_DATABASE_URL"
SCHEMA = "TALLYSTICK_SCHEMA"
READ_ONLY = "TALLYSTICK_READ_ONLY"
LOCK_TIMEOUT_SECONDS = 5
READER_SILENCE_SECONDS = 60
"""How long a reader may be silent within a transaction. A process that stops while it reads keeps a snapshot and locks,
which hold up vacuum and DDL."""

Found = TypeVar("Found")


class JournalDatastore(PostgresDatastore):
    """A pool of connections that have only the rights of the service."""

    def __init__(self, database: Database, pool_size: int, connect_timeout_seconds: float) -> None:
        originator_id_type: Literal["text"] = "text"
        super().__init__("", "", "", "", "", schema=database.schema, originator_id_type=originator_id_type)
        self.database = database
        # It has the library's name for a pool. The library only opens it, borrows from it and closes it.
        connect = partial(_reader, database)  # not a method, which would keep this object from being freed
        self.pool: Any = Readers(connect, pool_size, outage_of(database), connect_timeout_seconds)

    def read(self, function: Callable[[Connection[Any]], Found]) -> Found:
        """Return the result of a pure read. If its connection is lost meanwhile, it is tried once more on a fresh one.

        So is a read that a standby has ended, on any connection. Raises the library's `OperationalError` if there is no
        connection, or if the second attempt fails as well.
        """
        began = False
        try:
            with self.get_connection() as connection:
                began = True
                return function(connection)
        except (OperationalError, InterfaceError) as error:
            if is_overtaken(error.__cause__):
                pass
            elif began and is_lost(error.__cause__):
                self.pool.drain()
            else:
                raise
        with self.get_connection() as connection:
            return function(connection)

    def register_type_adapters(self) -> None:
        """Do nothing: the journal uses arrays of plain types, which are three times as fast as the library's type."""


def _reader(database: Database) -> Connection[Any]:
    """Return a connection that fails after a bounded wait for a lock, so that the holder can be reported."""
    connection = database.connect("tallystick reader")
    connection.row_factory = dict_row
    connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
    bound_transactions(connection, READER_SILENCE_SECONDS)
    return connection


class JournalFactory(PostgresFactory):
    """Makes recorders on the migrated tables, and the mapper for this project's events."""

    aggregate_recorder_class = SnapshotRecorder
    application_recorder_class = JournalRecorder
    process_recorder_class = JournalProcessRecorder

    def __init__(self, env: Environment | EnvType | None) -> None:
        env = env if isinstance(env, Environment) else Environment(env=env)
        env.setdefault(self.POSTGRES_DBNAME, "")
        env.setdefault(self.POSTGRES_HOST, "")
        env.setdefault(self.POSTGRES_USER, "")
        env.setdefault(self.POSTGRES_PASSWORD, "")
        env[self.CREATE_TABLE] = "no"
        env[self.ORIGINATOR_ID_TYPE] = "text"
        super().__init__(env)
        if self.datastore.enable_db_functions:
            raise UnsafeSetting(self.POSTGRES_ENABLE_DB_FUNCTIONS)
        self.datastore.close()
        schema = env.get(SCHEMA) or Database._field_defaults["schema"]
        kind = ReadOnlyDatabase if env.get(READ_ONLY) == "true" else Database
        database = kind(env[DATABASE_URL], schema)
        self.datastore = JournalDatastore(database, int(env.get(self.POSTGRES_POOL_SIZE) or 8), 5.0)

    def mapper(
        self, transcoder: Transcoder | None = None, mapper_class: type[Mapper[Any]] | None = None
    ) -> Mapper[Any]:
        """Return the mapper of this project's events, unless another is asked for."""
        configured = mapper_class or (None if self.env.get(self.MAPPER_TOPIC) else JournalMapper)
        return super().mapper(transcoder, configured)

    def aggregate_recorder(self, purpose: str = "events") -> SnapshotRecorder:
        """Return the recorder of snapshots."""
        return self.aggregate_recorder_class(self.datastore, events_table_name=purpose)

    def application_recorder(self) -> JournalRecorder:
        """Return the recorder of the journal."""
        return self.application_recorder_class(self.datastore, events_table_name="events")

    def process_recorder(self) -> JournalProcessRecorder:
        """Return a recorder of the journal that also records tracking positions."""
        return self.process_recorder_class(self.datastore)

    def tracking_recorder(
        self, tracking_recorder_class: type[TPostgresTrackingRecorder] | None = None
    ) -> TPostgresTrackingRecorder:
        """Return a recorder of tracking positions: of the class given, else the configured, else the library's."""
        topic = self.env.get(self.TRACKING_RECORDER_TOPIC)
        recorder_class: Any = tracking_recorder_class or (
            resolve_topic(topic) if topic else self.tracking_recorder_class
        )
        recorder: TPostgresTrackingRecorder = recorder_class(self.datastore, tracking_table_name="tracking")
        return recorder


class UnsafeSetting(OSError):
    """The library's database functions take no lock, so tailing readers lose events; they may not be enabled."""

    def __init__(self, setting: str) -> None:
        super().__init__(f"{setting}: {' '.join((self.__doc__ or '').split())}")
