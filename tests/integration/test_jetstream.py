"""The journal in a stream of a real NATS server: each event once, in order, even if either side is killed."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from msgspec.structs import replace
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from psycopg import Connection
from structlog.testing import capture_logs

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.outage import Denials
from domain.journal.reader import Row
from domain.model.transactions import Description
from projections.engine import leadership
from projections.engine.leadership import Pauses
from projections.outbox import jetstream
from projections.outbox.jetstream import Follower
from projections.running.positions import progress
from tests.integration.streams import assert_each_once, await_position, move, on_broker, publishing, told
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.nats_server import NatsServer, serving_nats
from tests.projecting import append, cut, delete_event, eventually, set_state
from tests.tampering import arm, disarm

pytestmark = pytest.mark.integration


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[NatsServer]:
    with serving_nats(tmp_path) as broker:
        yield broker


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerApplication]:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        yield ledger


def length(broker: NatsServer) -> int:
    """The number of messages in the stream, 0 while it does not exist."""

    async def count(stream: JetStreamContext) -> int:
        try:
            return (await stream.stream_info("TALLYSTICK")).state.messages
        except NotFoundError:
            return 0

    found: int = on_broker(broker, count)
    return found


def test_every_event_is_published_in_order_under_its_subject(
    database: Database, ledger: LedgerApplication, broker: NatsServer, owner: Connection[Any]
) -> None:
    head = move(ledger, 400)
    with publishing(database, broker):
        await_position(owner, head)
        head = move(ledger)
        seen = await_position(owner, head)
    assert seen.lag_events == 0 and seen.state == "running" and seen.last_error is None
    assert_each_once(database, broker)
    last = told(broker, head)[0]
    assert last.headers["Correlation-Id"] == last.body["correlationid"] == "correlation-1"
    assert last.headers["traceparent"] == last.body["traceparent"]
    assert last.body["id"] == f"main/{head}"


@pytest.mark.parametrize("window_bytes", [None, 1, 3_000])
def test_large_events_are_published_a_few_at_a_time(
    database: Database,
    ledger: LedgerApplication,
    broker: NatsServer,
    owner: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    window_bytes: int | None,
) -> None:
    if window_bytes is not None:
        monkeypatch.setattr(jetstream, "WINDOW_BYTES", window_bytes)
    windows: list[list[int]] = []
    messages = Follower._messages

    def watched(follower: Follower, after: int, upto: int, rows: Sequence[Row]) -> Any:
        windows.append([len(row[3]) for row in rows])
        return messages(follower, after, upto, rows)

    monkeypatch.setattr(Follower, "_messages", watched)
    metadata = {} if window_bytes else {str(number): "€" * 512 for number in range(50)}
    large = [replace(transfer("a", "b", 1), description=Description(metadata=metadata)) for _ in range(120)]
    head = max(outcome.position for outcome in outcomes(ledger.execute(*large).result()))
    with publishing(database, broker):
        await_position(owner, head)
    assert_each_once(database, broker)
    most = window_bytes or 4 * 1024**2
    assert max(map(sum, windows)) >= most
    assert all(sum(sizes[:-1]) < most for sizes in windows)


@pytest.mark.long
def test_a_broker_that_is_killed_again_and_again_has_each_event_once(
    database: Database, ledger: LedgerApplication, broker: NatsServer, owner: Connection[Any]
) -> None:
    stop = threading.Event()

    def keep_moving() -> None:
        # At a bounded rate, or most of the time goes into publishing what is left after the last kill.
        while not stop.wait(0.02):
            move(ledger, 50)

    moving = threading.Thread(target=keep_moving)
    moving.start()
    with publishing(database, broker):
        for _ in range(4):
            sleep(0.7)  # at any point of its work
            broker.kill()
            broker.start()
        stop.set()
        moving.join()
        await_position(owner, ledger.head())
    assert_each_once(database, broker)


def test_a_publisher_that_dies_leaves_out_and_doubles_nothing(
    database: Database, ledger: LedgerApplication, broker: NatsServer, owner: Connection[Any]
) -> None:
    """Also if it died before it noted the broker's acknowledgement."""
    with publishing(database, broker), publishing(database, broker):
        for _ in range(3):
            move(ledger, 300)
            eventually(lambda: cut(owner, "tallystick projection nats") > 0)
        head = move(ledger, 10)
        await_position(owner, head)
    for noted in (0, head - 5):
        owner.execute("UPDATE projection_versions SET position = %s WHERE name = 'nats'", (noted,))
        with publishing(database, broker):
            await_position(owner, head)
    assert_each_once(database, broker)


def test_a_stream_that_was_lost_is_filled_again_and_one_that_was_purged_is_not(
    database: Database, ledger: LedgerApplication, broker: NatsServer, owner: Connection[Any]
) -> None:
    head = move(ledger, 10)
    with publishing(database, broker):
        await_position(owner, head)
    on_broker(broker, lambda stream: stream.delete_stream("TALLYSTICK"))
    with publishing(database, broker):
        eventually(lambda: length(broker) == head)
    assert_each_once(database, broker)
    on_broker(broker, lambda stream: stream.purge_stream("TALLYSTICK"))
    with publishing(database, broker):
        last = move(ledger)
        await_position(owner, last)
    assert [message.position for message in told(broker, head + 1)] == list(range(head + 1, last + 1))


def test_a_message_of_someone_else_is_noticed_and_nothing_added_to_it(
    database: Database, ledger: LedgerApplication, broker: NatsServer, owner: Connection[Any]
) -> None:
    head = move(ledger)
    with publishing(database, broker):
        await_position(owner, head)
        on_broker(broker, lambda stream: stream.publish("tallystick.intruder", b"{}"))
        move(ledger)
        eventually(lambda: "not from this service" in (progress(owner, "nats").last_error or ""))
    assert length(broker) == head + 1


def test_a_stream_that_an_earlier_release_filled_goes_on(
    database: Database, ledger: LedgerApplication, broker: NatsServer, owner: Connection[Any]
) -> None:
    """The ids of its messages have no digest."""
    head = move(ledger)
    with publishing(database, broker):
        await_position(owner, head)
    earlier = move(ledger)
    id = {"Nats-Msg-Id": f"main/{earlier}"}
    on_broker(broker, lambda stream: stream.publish("tallystick.main.transaction.posted", b"{}", headers=id))
    with publishing(database, broker):
        last = move(ledger)
        await_position(owner, last)
    assert [of.position for of in told(broker, head + 2)] == list(range(earlier + 1, last + 1))


def test_after_a_restore_nothing_is_added_to_what_was_lost_until_the_stream_is_purged(
    database: Database, broker: NatsServer, owner: Connection[Any]
) -> None:
    """Neither while the journal is shorter than the stream, nor once other events have the same positions."""
    with running(database) as ledger, publishing(database, broker):
        open_accounts(ledger, "a", "b")
        restored = move(ledger)
        lost = move(ledger, 5)
        await_position(owner, lost)
    told_before = length(broker)
    restore(owner, restored)

    def is_said(words: str) -> bool:
        return words in (progress(owner, "nats").last_error or "")

    with publishing(database, broker):
        eventually(lambda: is_said(f"ends with event {lost}, and the journal with event {restored}"))
    with running(database) as ledger:
        head = move(ledger, 10)
    with publishing(database, broker):
        eventually(lambda: is_said(f"event {lost}, with which the stream TALLYSTICK ends, is another one"))
        assert length(broker) == told_before
        on_broker(broker, lambda stream: stream.purge_stream("TALLYSTICK"))
        await_position(owner, head)
    messages = told(broker, told_before + 1)
    assert [message.position for message in messages] == list(range(restored + 1, head + 1))


def restore(owner: Connection[Any], position: int) -> None:
    """Bring the journal back to a position, and what was noted of NATS with it."""
    with owner.transaction():
        disarm(owner)
        owner.execute("DELETE FROM snapshots")
        owner.execute("DELETE FROM stored_events WHERE notification_id > %s", (position,))
        owner.execute("UPDATE head SET position = %s", (position,))
        owner.execute("UPDATE projection_versions SET position = %s WHERE name = 'nats'", (position,))
        arm(owner)


def test_while_it_is_paused_nothing_is_published(
    database: Database, ledger: LedgerApplication, broker: NatsServer, owner: Connection[Any]
) -> None:
    head = move(ledger)
    with publishing(database, broker):
        await_position(owner, head)
        set_state(owner, "nats", "paused")
        move(ledger)
    with publishing(database, broker):
        eventually(lambda: progress(owner, "nats").lag_events == 3)
        set_state(owner, "nats", "running")
        await_position(owner, head + 3)
    assert_each_once(database, broker)


@pytest.mark.parametrize("fault", ["gap", "unreadable"])
def test_it_halts_before_what_it_cannot_tell(
    database: Database, ledger: LedgerApplication, broker: NatsServer, owner: Connection[Any], fault: str
) -> None:
    head = move(ledger, 2)
    if fault == "gap":
        delete_event(owner, head)
        bad = head
    else:
        bad = append(owner, "other/ledger", 1, "ledger.opened", b"no JSON")
    move(ledger)
    with publishing(database, broker):
        eventually(lambda: has_halted(owner))
    seen = progress(owner, "nats")
    assert seen.position == bad - 1 and f"event {bad}" in (seen.last_error or "")
    assert told(broker)[-1].position == bad - 1


def has_halted(owner: Connection[Any]) -> bool:
    rows = owner.execute("SELECT state FROM projection_versions WHERE name = 'nats'").fetchall()
    return rows == [("halted",)]


def test_a_broker_that_is_not_there_is_said_so(
    database: Database, ledger: LedgerApplication, broker: NatsServer, owner: Connection[Any]
) -> None:
    broker.kill()
    head = move(ledger)

    def is_said() -> bool:
        rows = owner.execute("SELECT last_error FROM projection_versions WHERE name = 'nats'").fetchall()
        return bool(rows and rows[0][0])

    with publishing(database, broker):
        eventually(is_said)
        broker.start()
        assert await_position(owner, head).last_error is None
        # Nothing is recorded meanwhile, so no publication shows that the broker is back.
        broker.kill()
        eventually(is_said)
        broker.start()
        eventually(lambda: not is_said())


def test_a_denial_is_noted_and_pauses_begin_with_the_first_after_each_success(
    database: Database,
    ledger: LedgerApplication,
    broker: NatsServer,
    owner: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leadership, "DENIALS", denials := Denials())
    paused: list[float] = []
    next_seconds = Pauses.next_seconds

    def watched(pauses: Pauses) -> float:
        paused.append(next_seconds(pauses))
        return paused[-1]

    monkeypatch.setattr(Pauses, "next_seconds", watched)
    with publishing(database, broker), capture_logs() as said:
        await_position(owner, move(ledger))
        rounds = [_pauses_while_denied(ledger, owner, paused) for _ in range(2)]
        assert denials.times == len(paused)
    for pauses in rounds:
        assert pauses == [min(0.1 * 2**times, 5.0) for times in range(len(pauses))]
    errors = [line["event"] for line in said if line["log_level"] == "error"]
    assert errors == ["database denies what is needed"]


def _pauses_while_denied(
    ledger: LedgerApplication, owner: Connection[Any], paused: list[float]
) -> list[float]:
    """Publish while the position may not be noted, until three pauses were made; return the new pauses."""
    before = len(paused)
    owner.execute("REVOKE UPDATE ON projection_versions FROM tallystick_service")
    head = move(ledger)
    eventually(lambda: len(paused) >= before + 3)
    owner.execute("GRANT UPDATE ON projection_versions TO tallystick_service")
    await_position(owner, head)
    return paused[before:]
