"""The worker on a real journal: due work is done once, whatever was down, doubled, cut or damaged meanwhile."""

import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from domain.application import LedgerApplication
from domain.commit import queue
from domain.journal.database import Database
from domain.journal.outage import outage_of
from domain.model.accounts import Account
from domain.model.commands import Command
from domain.model.entries import Entry
from domain.model.events import Context
from domain.model.holds import ExpireHold, SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.postings import AcceptTransaction, CompleteTransaction, PostTransaction
from domain.model.times import Instant, instant
from domain.model.transactions import Acceptance, Description, Transaction
from projections.engine import leadership
from projections.engine.batches import read_batch
from projections.process_managers import due_worker
from projections.process_managers.due_worker import Worker
from projections.read_models import due_work
from projections.rebuilding.rebuilder import rebuild
from projections.registry import PROJECTIONS
from tests.integration.severing_proxy import SeveringProxy
from tests.ledgers import CONTEXT, folded, history, open_accounts, outcomes
from tests.projecting import append, await_head, cut, eventually, projecting

pytestmark = pytest.mark.integration

NEWER = b'{"class_version": 99, "data": {}}'


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def __call__(self) -> Instant:
        """The time."""
        return instant(self._now)

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)

    def after(self, seconds: float) -> Instant:
        """The time some seconds from the clock's time."""
        return instant(self._now + timedelta(seconds=seconds))


@contextmanager
def running(database: Database, clock: Clock) -> Iterator[LedgerApplication]:
    with LedgerApplication(database, clock) as ledger:
        ledger.start()
        yield ledger


@contextmanager
def working(database: Database, ledger: LedgerApplication, clock: Clock) -> Iterator[Worker]:
    working = Worker(database, ledger, clock)
    working.start()
    try:
        yield working
    finally:
        working.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(database: Database, clock: Clock) -> Iterator[LedgerApplication]:
    """A ledger with three accounts, while due work is projected."""
    with projecting(database, [PROJECTIONS["due"]]), running(database, clock) as ledger:
        open_accounts(ledger, "a", "b", "c")
        yield ledger


def request(kind: type[PostTransaction], key: str | None = None, **more: Any) -> PostTransaction:
    """A request to move 1, or to hold it, from one account to another."""
    key = key or uuid4().hex
    debited, credited = more.pop("between", ("a", "b"))
    entries = (
        Entry(account=debited, direction="debit", amount=1),
        Entry(account=credited, direction="credit", amount=1),
    )
    return kind(
        CONTEXT, "main", Operation(key, operation_id("main", key), "f"), Description(), entries, **more
    )


def on_hold(kind: type[SettleHold | VoidHold], hold: PostTransaction) -> Command:
    key = uuid4().hex
    operation = Operation(key, operation_id("main", key), "f")
    return kind(CONTEXT, "main", operation, Description(), hold.operation.id)


def holds(count: int, expires_at: Instant, **more: Any) -> list[PostTransaction]:
    return [request(PostTransaction, pending=True, expires_at=expires_at, **more) for _ in range(count)]


def acceptances(count: int, **more: Any) -> list[PostTransaction]:
    return [request(AcceptTransaction, **more) for _ in range(count)]


def statuses(ledger: LedgerApplication, requests: Sequence[PostTransaction]) -> set[str]:
    """The statuses of requests."""
    found = [ledger.operation("main", of.operation.key)[0] for of in requests]
    return {of.status if isinstance(of, Transaction) else "accepted" for of in found}


def await_statuses(ledger: LedgerApplication, requests: Sequence[PostTransaction], *expected: str) -> None:
    """Wait until requests have these statuses."""
    eventually(lambda: statuses(ledger, requests) == set(expected))


def assert_done_once(database: Database, asked: Sequence[PostTransaction]) -> None:
    """Assert one outcome for each request and one end for each hold, and that everything pending is explained."""
    events = history(database)
    states = folded(events)
    ids = {of.operation.id for of in asked}
    done = Counter(
        (event.stream.rpartition("/")[2], event.event.TOPIC)
        for event in events
        if event.event.TOPIC.startswith("transaction.")
    )
    assert set(done.values()) == {1}
    assert {id for id, _ in done} >= ids
    pending = [
        state
        for state in states.values()
        if isinstance(state, Transaction) and (state.kind, state.status) == ("hold", "pending")
    ]
    account = states["main/accounts/a"]
    assert isinstance(account, Account)
    assert account.pending_debits == len(pending)
    posted = [
        state for state in states.values() if isinstance(state, Transaction) and state.status == "posted"
    ]
    assert account.posted_debits == len(posted)


def test_it_does_what_became_due_while_there_was_none(
    database: Database, ledger: LedgerApplication, clock: Clock
) -> None:
    accepted = acceptances(40)
    short = holds(40, clock.after(5))
    long = holds(3, clock.after(5000))
    late = acceptances(3, pending=True, expires_at=clock.after(5))
    outcomes(ledger.execute(*accepted, *short, *long, *late).result())
    clock.move(100)
    with working(database, ledger, clock):
        await_statuses(ledger, accepted, "posted")
        await_statuses(ledger, short, "expired")
        await_statuses(ledger, late, "rejected")
    assert statuses(ledger, long) == {"pending"}
    assert_done_once(database, [*accepted, *short, *long])


def test_it_does_what_becomes_due_while_it_waits(
    database: Database, ledger: LedgerApplication, clock: Clock
) -> None:
    with working(database, ledger, clock):
        for _ in range(5):
            accepted, short = acceptances(7), holds(7, clock.after(5))
            pending = acceptances(7, pending=True, expires_at=clock.after(6))
            outcomes(ledger.execute(*accepted, *short, *pending).result())
            await_statuses(ledger, accepted, "posted")
            await_statuses(ledger, pending, "pending")
            assert statuses(ledger, short) == {"pending"}
            clock.move(10)
            await_statuses(ledger, short + pending, "expired")
    assert_done_once(database, [])


@pytest.mark.parametrize("in_turn", [True, False], ids=["one stands by", "both at once"])
def test_two_do_each_thing_once(
    database: Database,
    clock: Clock,
    ledger: LedgerApplication,
    monkeypatch: pytest.MonkeyPatch,
    in_turn: bool,
) -> None:
    if not in_turn:
        monkeypatch.setattr(leadership, "try_acquire", lambda *_: True)
    with ExitStack() as stack:
        other = stack.enter_context(running(database, clock))
        first = stack.enter_context(working(database, ledger, clock))
        stack.enter_context(working(database, other, clock))
        asked = []
        for number in range(10):
            more = [*acceptances(20), *holds(20, clock.after(5))]
            outcomes((ledger, other)[number % 2].execute(*more).result())
            asked += more
            clock.move(10)
            if number == 5:
                first.stop()  # the other takes its place
        await_statuses(ledger, asked, "posted", "expired")
    assert_done_once(database, asked)


def test_what_cannot_be_read_keeps_nothing_else_from_being_done(
    database: Database,
    ledger: LedgerApplication,
    clock: Clock,
    owner: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(due_worker, "SET_ASIDE_SECONDS", 3600.0)
    of_account = [*holds(2, clock.after(5), between=("c", "b")), *acceptances(1, between=("c", "b"))]
    (of_itself,) = holds(1, clock.after(5))
    outcomes(ledger.execute(*of_account, of_itself).result())
    version = ledger.account("main", "c")[0].version
    append(owner, "main/accounts/c", version + 1, "account.frozen", NEWER)
    append(owner, f"main/transactions/{of_itself.operation.id}", 2, "transaction.reversed", NEWER)
    clock.move(10)
    with capture_logs() as logs, working(database, ledger, clock):
        for _ in range(10):
            others = [*acceptances(3), *holds(3, clock.after(5))]
            outcomes(ledger.execute(*others).result())
            clock.move(10)
            await_statuses(ledger, others, "posted", "expired")
    assert statuses(ledger, of_account) == {"pending", "accepted"}
    aside = Counter(entry["transaction_id"] for entry in logs if entry["event"] == "due work was not done")
    assert aside == {of.operation.id: 1 for of in (*of_account, of_itself)}, "not asked for again and again"


def test_what_was_set_aside_is_tried_again(
    database: Database, ledger: LedgerApplication, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due_worker, "SET_ASIDE_SECONDS", 0.2)
    real, failures = due_worker._command, iter([True] * 3)
    monkeypatch.setattr(due_worker, "_command", lambda *of: None if next(failures, False) else real(*of))
    asked = acceptances(1)
    outcomes(ledger.execute(*asked).result())
    with working(database, ledger, clock):
        await_statuses(ledger, asked, "posted")
    assert next(failures, None) is None


def test_it_survives_the_loss_of_its_connection(
    database: Database, ledger: LedgerApplication, clock: Clock, owner: Connection[Any]
) -> None:
    asked = []
    with working(database, ledger, clock):
        for _ in range(6):
            more = [*acceptances(20), *holds(20, clock.after(5))]
            outcomes(ledger.execute(*more).result())
            clock.move(10)
            cut(owner, "tallystick worker")
            asked += more
        await_statuses(ledger, asked, "posted", "expired")
    assert_done_once(database, asked)


def test_an_outage_sets_nothing_aside(
    database: Database, ledger: LedgerApplication, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due_worker, "SET_ASIDE_SECONDS", 3600.0)
    monkeypatch.setattr(queue, "PATIENCE_SECONDS", 0.1)
    asked = acceptances(5)
    outcomes(ledger.execute(*asked).result())
    asking = threading.Event()
    with (
        SeveringProxy(database.url) as proxy,
        running(database._replace(url=proxy.database_url), clock) as cut_off,
    ):
        cut_off.perform(request(PostTransaction))
        proxy.cut()
        execute = cut_off.execute

        def ask(*commands: Command) -> Any:
            asking.set()
            return execute(*commands)

        monkeypatch.setattr(cut_off, "execute", ask)
        with working(database, cut_off, clock):
            assert asking.wait(60)
            eventually(lambda: "worker" in outage_of(database).parts)
            proxy.restore()
            await_statuses(ledger, asked, "posted")


def test_it_ends_when_it_is_told_to_while_another_holds_the_place(
    database: Database, ledger: LedgerApplication, clock: Clock
) -> None:
    with working(database, ledger, clock), working(database, ledger, clock):
        asked = acceptances(1)
        outcomes(ledger.execute(*asked).result())
        await_statuses(ledger, asked, "posted")


def random_history(ledger: LedgerApplication, clock: Clock, chance: random.Random) -> None:
    """Requests of every kind that begins or ends due work."""
    begun: list[PostTransaction] = []
    for _ in range(60):
        clock.move(1)
        begun += acceptances(1) + holds(1, clock.after(chance.randint(1, 100)))
        begun += acceptances(1, pending=True, expires_at=clock.after(chance.randint(1, 100)))
        begun.append(request(PostTransaction, pending=True))
        outcomes(ledger.execute(*begun[-4:]).result())
        for of in chance.sample(begun, min(4, len(begun))):
            state, _ = ledger.operation("main", of.operation.key)
            if isinstance(state, Acceptance):
                outcomes(ledger.execute(CompleteTransaction(state)).result())
            elif isinstance(state, Transaction) and state.kind == "hold":
                kind = chance.choice([SettleHold, VoidHold, None])
                expiry = ExpireHold(Context("x", "y"), "main", state.id)
                outcomes(ledger.execute(on_hold(kind, of) if kind else expiry).result())


@pytest.mark.parametrize("seed", range(3))
def test_what_is_due_is_the_same_in_steps_of_any_size_and_rebuilt(
    database: Database, ledger: LedgerApplication, clock: Clock, owner: Connection[Any], seed: int
) -> None:
    chance = random.Random(seed)
    random_history(ledger, clock, chance)
    head = await_head(owner, "due")
    expected = {}
    for state in folded(history(database)).values():
        if isinstance(state, Acceptance):
            expected[state.id] = (state.accepted_at, state.position)
        elif isinstance(state, Transaction) and state.status == "pending" and state.expires_at:
            expected[state.id] = (state.expires_at, state.position)
    assert len(expected) > 20
    found = due_work.list_due(owner, "9999-01-01T00:00:00.000000Z", 10_000).found
    assert {of.id: (of.due_at, of.position) for of in found} == expected
    assert [(of.due_at, of.position) for of in found] == sorted(expected.values())

    for version, largest in ((101, 1), (102, 7), (103, 50), (104, head)):
        queries = due_work.PROJECTION.queries(version)
        owner.execute(queries["create_tables"])
        position = 0
        while position < head:
            upto = min(head, position + chance.randint(1, largest))
            due_work.project(owner, queries, read_batch(owner, due_work.PROJECTION, position, upto).events)
            position = upto
        rows = owner.execute(f"TABLE due_v{version}").fetchall()
        assert {str(id): (instant(due_at), at) for _, id, due_at, at in rows} == expected
        owner.execute(f"DROP TABLE due_v{version}")

    outcome = rebuild(database, "due")
    assert outcome.switched
    assert outcome.equal
