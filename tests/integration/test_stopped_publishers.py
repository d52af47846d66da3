"""A publisher that is stopped, wherever it is: another takes its place, and what wakes up doubles nothing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from psycopg import Connection

from domain.application import LedgerApplication
from domain.journal.database import Database
from projections.read_models.outbox import PROJECTION
from tests.integration.stopped_programs import stopped
from tests.integration.streams import assert_each_once, await_position, move
from tests.integration.streams import publishing as streaming
from tests.ledgers import open_accounts, running
from tests.nats_server import serving_nats
from tests.outboxes import await_acknowledged, deliveries, publishing, register
from tests.projecting import eventually, projecting
from tests.receiver import receiving

pytestmark = [pytest.mark.integration, pytest.mark.long]

# The silence of a session, and as long again for a machine that is busy; a stopped process would take for ever.
TAKEN_WITHIN_SECONDS = 30.0

STOPPING = """
import os, signal, sys, threading
import structlog
from domain.journal.database import Database
from projections.outbox import jetstream, publisher, queue
from projections.outbox.publishing import Streaming
from tests.outboxes import QUICK

url, schema, owner, name, after, broker = sys.argv[1:]
of = {"queue": queue, "rounds": publisher.Rounds, "follower": jetstream.Follower}[owner]
method, calls = getattr(of, name), [0]

def stopping(*arguments):
    found = method(*arguments)
    calls[0] += bool(found) or owner != "queue"
    if calls[0] == int(after):
        calls[0] += 1
        os.kill(os.getpid(), signal.SIGSTOP)
    return found

setattr(of, name, stopping)
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
if broker:
    jetstream.run_jetstream(Database(url, schema), threading.Event(), Streaming(broker))
else:
    publisher.run_publisher(Database(url, schema), threading.Event(), QUICK)
"""


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerApplication]:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        yield ledger


def sessions(owner: Connection[Any], name: str) -> int:
    """How many sessions of this name there are."""
    row = owner.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
        (name,),
    ).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.parametrize(
    ("owned_by", "name"),
    [
        ("queue", "_claim"),  # in the transaction that begins attempts
        ("rounds", "_post"),  # an attempt is on record, and its request is not made
        ("queue", "_record"),  # an attempt was acknowledged, which is not committed
    ],
    ids=["claiming", "posting", "recording"],
)
def test_webhooks_are_told_by_another_and_each_attempt_has_one_end(
    owned_by: str, name: str, database: Database, ledger: LedgerApplication, owner: Connection[Any]
) -> None:
    with (
        receiving() as receiver,
        projecting(database, [PROJECTION]),
        database.connect("test") as connection,
    ):
        hook, before = register(connection, receiver.url), ledger.head()
        head = move(ledger, 5)
        with stopped(STOPPING, *database, owned_by, name, "1", "") as process:
            with publishing(database):
                began = monotonic()
                await_acknowledged(connection, hook.id, head - before)
                assert monotonic() - began < TAKEN_WITHIN_SECONDS
                os.kill(process.pid, signal.SIGCONT)
                # It finds that its session is lost, and stands by.
                eventually(lambda: sessions(owner, "tallystick publisher") == 2)
                head = move(ledger, 5)
                await_acknowledged(connection, hook.id, head - before)
            # Now it is the only one.
            head = move(ledger, 5)
            found = await_acknowledged(connection, hook.id, head - before)
            assert process.poll() is None
    assert [delivery.position for delivery in found] == list(range(before + 1, head + 1))
    for delivery in deliveries(owner, hook.id):
        outcomes = [attempt.outcome for attempt in delivery.attempts]
        assert outcomes.count("acknowledged") == 1 and "sent" not in outcomes, delivery
    # What was under way when it was stopped may have come twice, under the same id; nothing later has.
    twice = {id for id in receiver.ids() if receiver.ids().count(id) > 1}
    interrupted = {delivery.position for delivery in found if len(delivery.attempts) > 1}
    assert {int(id.rpartition("/")[2]) for id in twice} <= interrupted
    assert len(interrupted) <= 15


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("_headers", "7"),  # in the midst of a window, which it would go on with when it wakes up
        ("_move", "1"),  # noted, or about to be
        ("_messages", "1"),  # read, and nothing sent
    ],
    ids=["sending", "noting", "reading"],
)
def test_a_stream_is_continued_by_another_and_has_each_event_once(
    name: str,
    after: str,
    database: Database,
    ledger: LedgerApplication,
    owner: Connection[Any],
    tmp_path: Path,
) -> None:
    with serving_nats(tmp_path) as broker:
        head = move(ledger, 20)
        with stopped(STOPPING, *database, "follower", name, after, broker.url) as process:
            with streaming(database, broker):
                began = monotonic()
                await_position(owner, head)
                head = move(ledger, 20)
                await_position(owner, head)
                assert monotonic() - began < TAKEN_WITHIN_SECONDS
                os.kill(process.pid, signal.SIGCONT)
                eventually(lambda: sessions(owner, "tallystick projection nats") == 2)
                head = move(ledger, 20)
                await_position(owner, head)
            head = move(ledger, 20)
            await_position(owner, head)
            assert process.poll() is None
        assert_each_once(database, broker)
