"""The vital signs on a real journal: they show a fault while it lasts, and agree with a full count."""

import threading
from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.diagnosis.vital_signs import read_vital_signs
from projections.outbox.queue import take_over, take_turn
from projections.read_models import outbox, seals
from projections.running.projector import run_projector
from tests.ledgers import open_accounts, running
from tests.outboxes import await_acknowledged, publishing, register
from tests.projecting import await_head, eventually, projecting
from tests.receiver import Received, Reply, receiving

pytestmark = pytest.mark.integration


@pytest.fixture
def told(database: Database) -> None:
    """A journal of some events."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")


def test_deliveries_show_a_receiver_that_fails_until_it_is_well(
    database: Database, owner: Connection[Any]
) -> None:
    is_well = threading.Event()

    def behave(received: Received, count: int) -> Reply:
        return Reply(204 if is_well.is_set() else 500)

    with (
        receiving() as receiver,
        projecting(database, [outbox.PROJECTION]),
        running(database) as ledger,
        database.connect("test") as connection,
    ):
        assert read_vital_signs(connection)[:4] == (0, 0, 0.0, 0.0)
        receiver.behave = behave
        hook = register(connection, receiver.url)
        open_accounts(ledger, "a", "b")
        await_head(owner, "outbox")
        assert read_vital_signs(connection).overdue_seconds > 0
        assert take_turn(connection, (), {}, 1_000) != []
        assert read_vital_signs(connection).overdue_seconds > 0  # since nobody ends the attempts
        take_over(connection)  # as a publisher does that finds another's attempts without an end
        with publishing(database):
            eventually(lambda: read_vital_signs(connection).failing_seconds > 0)
            failing = read_vital_signs(connection)
            assert failing.webhooks_enabled == 1 and failing.undelivered_seconds > 0
            assert failing.overdue_seconds == 0  # which is told of receivers that are well
            is_well.set()
            await_acknowledged(connection, hook.id)
            eventually(lambda: read_vital_signs(connection).failing_seconds == 0)
        well = read_vital_signs(connection)
        assert well.undelivered_seconds == well.overdue_seconds == 0
    counted = owner.execute("SELECT outcome, count(*) FROM delivery_attempts GROUP BY outcome").fetchall()
    assert well.attempts == dict(counted) and set(well.attempts) == {"acknowledged", "failed"}


@pytest.mark.usefixtures("told")
def test_events_are_unsigned_until_a_projector_signs_them(database: Database) -> None:
    with database.connect("test") as connection:
        before = read_vital_signs(connection)
        assert before.checkpoint_seconds is None and before.unsigned_seconds > 0
        stop = threading.Event()
        projector = threading.Thread(target=run_projector, args=(database, stop, (seals.PROJECTION,)))
        projector.start()
        try:
            eventually(lambda: read_vital_signs(connection).unsigned_seconds == 0)
        finally:
            stop.set()
            projector.join()
        age_seconds = read_vital_signs(connection).checkpoint_seconds
        assert age_seconds is not None and age_seconds >= 0
