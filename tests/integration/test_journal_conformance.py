"""The eventsourcing library's own test cases, run on this project's recorders and factory.

The library ships them for authors of persistence modules (`eventsourcing.tests.persistence`). Where a case is changed,
a comment says which of its assumptions does not hold here.
"""

from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from eventsourcing.cipher import AESCipher
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.tests import persistence as shipped
from eventsourcing.utils import Environment

from domain.journal.database import Database
from domain.journal.eventsourcing.factory import (
    DATABASE_URL,
    SCHEMA,
    JournalDatastore,
    JournalFactory,
)
from domain.journal.eventsourcing.recorder import (
    JournalProcessRecorder,
    JournalRecorder,
    JournalSubscription,
    SnapshotRecorder,
)
from domain.model.events import Recorded
from domain.model.ledgers import LedgerOpened
from tests.unit.given_when_then import HISTORY

pytestmark = pytest.mark.integration


class OnAJournal:
    """Gives a unittest case a fresh database, and text for stream ids (ORIGINATOR_ID_TYPE=text)."""

    datastore: JournalDatastore

    @pytest.fixture(autouse=True)
    def journal(self, database: Database) -> Any:
        self.datastore = JournalDatastore(database, pool_size=8, connect_timeout_seconds=5.0)
        yield
        self.datastore.close()

    def new_originator_id(self) -> str:
        return f"main/accounts/{uuid4()}"


class TestSnapshotRecorder(OnAJournal, shipped.AggregateRecorderTestCase):
    def create_recorder(self) -> SnapshotRecorder:
        return SnapshotRecorder(self.datastore, events_table_name="snapshots")


class TestJournalRecorder(OnAJournal, shipped.ApplicationRecorderTestCase[JournalRecorder]):
    def create_recorder(self) -> JournalRecorder:
        return JournalRecorder(self.datastore)

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()

    def test_what_no_notification_tells_of_is_found(self) -> None:
        recorder = self.create_recorder()
        stream = self.new_originator_id()
        with (
            patch.object(JournalSubscription, "_listen", lambda _: None),
            recorder.subscribe() as subscription,
        ):
            for version in (1, 2):
                recorder.insert_events([StoredEvent(stream, version, "topic", b"state")])
                assert next(subscription).originator_version == version


class TestJournalRecorderDoesNotInterleave(OnAJournal, shipped.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> JournalRecorder:
        return JournalRecorder(self.datastore)


class TestTrackingRecorder(OnAJournal, shipped.TrackingRecorderTestCase):
    def create_recorder(self) -> PostgresTrackingRecorder:
        return PostgresTrackingRecorder(self.datastore, tracking_table_name="tracking")


class TestProcessRecorder(OnAJournal, shipped.ProcessRecorderTestCase):
    def create_recorder(self) -> JournalProcessRecorder:
        return JournalProcessRecorder(self.datastore)


class TestProcessRecorderAsJournal(OnAJournal, shipped.ApplicationRecorderTestCase[JournalProcessRecorder]):
    def create_recorder(self) -> JournalProcessRecorder:
        return JournalProcessRecorder(self.datastore)

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestProcessRecorderAsTracking(OnAJournal, shipped.TrackingRecorderTestCase):
    def create_recorder(self) -> JournalProcessRecorder:
        return JournalProcessRecorder(self.datastore)


class ATrackingRecorder(PostgresTrackingRecorder):
    """A follower's own recorder."""


class TestJournalFactory(shipped.InfrastructureFactoryTestCase[JournalFactory]):
    @pytest.fixture(autouse=True)
    def environment(self, database: Database) -> None:
        self.env = Environment(
            "App",
            {
                "PERSISTENCE_MODULE": "domain.journal.eventsourcing.factory:JournalFactory",
                DATABASE_URL: database.url,
                SCHEMA: database.schema,
            },
        )

    def expected_factory_class(self) -> type[JournalFactory]:
        return JournalFactory

    def expected_aggregate_recorder_class(self) -> type[SnapshotRecorder]:
        return SnapshotRecorder

    def expected_application_recorder_class(self) -> type[JournalRecorder]:
        return JournalRecorder

    def expected_tracking_recorder_class(self) -> type[PostgresTrackingRecorder]:
        return PostgresTrackingRecorder

    def tracking_recorder_subclass(self) -> type[PostgresTrackingRecorder]:
        return ATrackingRecorder

    def expected_process_recorder_class(self) -> type[JournalProcessRecorder]:
        return JournalProcessRecorder

    def test_mapper_with_wrong_cipher_key(self) -> None:
        """As the library's, with an event of the kind this mapper takes instead of the library's `DomainEvent`."""
        self.env[self.factory.CIPHER_TOPIC] = "eventsourcing.cipher:AESCipher"
        self.env[f"APP1_{AESCipher.CIPHER_KEY}"] = AESCipher.create_key(16)
        self.env[f"APP2_{AESCipher.CIPHER_KEY}"] = AESCipher.create_key(16)
        event = Recorded("main/ledger", 1, 0, HISTORY, LedgerOpened(metadata={"a": "1"}))
        self.env.name = "App1"
        mapper = self.factory.mapper(transcoder=self.transcoder)
        stored = mapper.to_stored_event(event)
        assert b"metadata" not in stored.state
        assert mapper.to_domain_event(stored) == event
        self.env.name = "App2"
        with pytest.raises(ValueError):  # noqa: PT011  the library's cipher says no more
            self.factory.mapper(transcoder=self.transcoder).to_domain_event(stored)
