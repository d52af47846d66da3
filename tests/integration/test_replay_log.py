"""The log of replays: bounded, written after the requests, and complete while the process lives."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from api.service import replay_log
from api.service.replay_log import ReplayLog
from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.outage import outage_of
from domain.model.commands import Outcome
from domain.model.errors import IdempotencyKeyReused, InvalidRequest
from domain.model.idempotency import operation_id
from projections.diagnosis.request_replays import Replays, add_replays, replayed_in, replays_of
from tests.integration.severing_proxy import SeveringProxy
from tests.ledgers import CONTEXT, running, transfer
from tests.projecting import eventually

pytestmark = pytest.mark.integration

FIRST = Outcome(None, True, False, 1)
AGAIN = Outcome(None, False, True, 1)
COMMAND = transfer("a", "b", 1, "order-1")


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerApplication]:
    with running(database) as ledger:
        yield ledger


@pytest.fixture
def log(ledger: LedgerApplication, monkeypatch: pytest.MonkeyPatch) -> ReplayLog:
    """A log that writes soon, once it is started."""
    monkeypatch.setattr(replay_log, "GATHER_SECONDS", 0.01)
    return ReplayLog(ledger)


def counted(connection: Connection[Any], *keys: str) -> list[tuple[str, str, int]]:
    found = replays_of(connection, "main", [operation_id("main", key) for key in keys or ("order-1",)])
    return sorted((replays.kind, replays.actor, replays.times) for replays in found)


def test_replays_and_mismatches_are_counted_and_nothing_else(log: ReplayLog, owner: Connection[Any]) -> None:
    for result in (FIRST, AGAIN, AGAIN, IdempotencyKeyReused(), InvalidRequest("/x", "is wrong")):
        log.note(COMMAND, result)
    log.start()
    eventually(lambda: len(counted(owner)) == 2)
    log.note(COMMAND, AGAIN)
    log.stop()
    assert counted(owner) == [("mismatched", "tester", 1), ("replayed", "tester", 3)]
    assert replayed_in(owner, "main", CONTEXT.correlation_id, 9) == [operation_id("main", "order-1")]
    assert replayed_in(owner, "other", CONTEXT.correlation_id, 9) == []
    assert not log._thread.is_alive()


def test_what_is_noted_during_the_last_write_is_written_too(
    log: ReplayLog, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(connection: Connection[Any], seen: list[Replays]) -> None:
        monkeypatch.undo()
        log.note(COMMAND, AGAIN)
        log._stopping.set()
        add_replays(connection, seen)

    monkeypatch.setattr(replay_log, "add_replays", write)
    log.note(COMMAND, AGAIN)
    log.start()
    log._thread.join()
    assert counted(owner) == [("replayed", "tester", 2)]


def test_they_span_the_first_and_the_last(ledger: LedgerApplication, owner: Connection[Any]) -> None:
    times = iter(f"2026-11-23T20:00:0{second}.000000Z" for second in (1, 3, 2))
    log = ReplayLog(ledger, lambda: next(times))
    for _ in range(3):
        log.note(COMMAND, AGAIN)
    log.start()
    log.stop()
    (found,) = replays_of(owner, "main", [operation_id("main", "order-1")])
    assert isinstance(found, Replays)
    assert (found.times, found.first_at[-9:], found.last_at[-9:]) == (3, "1.000000Z", "3.000000Z")


def test_what_waits_is_bounded_and_says_what_it_leaves_out(
    log: ReplayLog, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_log, "MAX_WAITING_REPLAYS", 2)
    keys = ("one", "two", "three")
    for key in (*keys, *keys):
        log.note(transfer("a", "b", 1, key), AGAIN)
    with capture_logs() as logged:
        log.start()
        log.stop()
    assert [line["count"] for line in logged if line["event"] == "replays were not counted"] == [2]
    assert counted(owner, *keys) == [("replayed", "tester", 2), ("replayed", "tester", 2)]


def test_they_wait_while_the_database_is_out_of_reach(database: Database, owner: Connection[Any]) -> None:
    with (
        SeveringProxy(database.url) as proxy,
        running(Database(proxy.database_url, database.schema)) as ledger,
    ):
        log = ReplayLog(ledger)
        log.start()
        proxy.cut()
        log.note(COMMAND, AGAIN)
        eventually(lambda: "replay log" in outage_of(ledger.datastore.database).parts)
        log.note(COMMAND, AGAIN)
        proxy.restore()
        eventually(lambda: counted(owner) == [("replayed", "tester", 2)])
        log.stop()
