"""The payer on a real journal with a real simulator: each payout is brought to its end exactly once, whatever fails."""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Any

import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from domain.application import LedgerApplication, system_clock
from domain.journal.database import Database
from domain.model.accounts import Account, OpenAccount
from domain.model.events import Context
from domain.model.ledgers import OpenLedger
from domain.model.payouts import payout as payout_aggregate
from domain.model.payouts.payout import Payout, PayoutState, Verdict
from domain.model.payouts.reports import RecordReport, Report
from domain.model.payouts.requests import RequestPayout
from domain.model.payouts.resolutions import CompletePayout, ReconcilePayout
from projections.engine import leadership
from projections.engine.batches import read_batch
from projections.process_managers import payer as payers
from projections.process_managers import provider_health
from projections.process_managers.provider_health import Callee
from projections.process_managers.providers.interface import Callback, NoAnswer, Order
from projections.read_models import payouts
from projections.read_models.payouts import PayoutFilters, Share, list_due_payouts, list_payouts
from projections.rebuilding.rebuilder import rebuild
from projections.registry import PROJECTIONS
from scripts.simulator.faults import WORST, Script
from tests.ledgers import folded, history, opening, outcomes, running, transfer
from tests.paying import paying, reached, simulated
from tests.payouts import CONTEXT, a_mark, a_request
from tests.projecting import append, await_head, cut, eventually, projecting

pytestmark = pytest.mark.integration

NEWER = b'{"class_version": 99, "data": {}}'
DEPOSIT = 1_000_000


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerApplication]:
    """A ledger in which Alice has a lot, while payouts are projected."""
    with projecting(database, [PROJECTIONS["payouts"]]), running(database) as ledger:
        ledger.perform(OpenLedger(CONTEXT, "main", {}))
        ledger.perform(OpenAccount(CONTEXT, "main", "alice", opening(0)))
        ledger.perform(OpenAccount(CONTEXT, "main", "cash", opening(normal_side="debit")))
        ledger.perform(transfer("cash", "alice", DEPOSIT))
        yield ledger


def requests(count: int, provider: str = "simulator", prefix: str = "p") -> list[RequestPayout]:
    return [
        a_request(f"{prefix}{n}", n + 1, provider=provider, destination={"iban": f"{prefix}{n}"})
        for n in range(count)
    ]


def ask(ledger: LedgerApplication, asked: Sequence[RequestPayout]) -> None:
    outcomes(ledger.execute(*asked).result())


def found(ledger: LedgerApplication, asked: RequestPayout) -> Payout:
    return ledger.payout("main", asked.operation.id)[0]


def await_states(ledger: LedgerApplication, asked: Sequence[RequestPayout], *states: PayoutState) -> None:
    for of in asked:
        eventually(lambda of=of: found(ledger, of).state in states)  # type: ignore[misc]


def test_all_are_paid_once_by_a_provider_at_its_worst(database: Database, ledger: LedgerApplication) -> None:
    asked = requests(40)
    with simulated(WORST._replace(lie=0.0, stall_seconds=1.0)) as simulator:
        ask(ledger, asked)
        with paying(database, ledger, simulator=reached(simulator, timeout_seconds=0.5)):
            await_states(ledger, asked, "completed", "failed")
        books = {line["key"]: line for line in simulator.books.shown()}
    states = folded(history(database))
    for of in asked:
        payout = found(ledger, of)
        line = books.pop(payout.provider_key)
        assert (payout.state, payout.amount) == (line["outcome"], line["amount"])
        assert payout.attempts >= line["submissions"] >= 1
    assert not books
    paid = sum(found(ledger, of).amount for of in asked if found(ledger, of).state == "completed")
    alice = states["main/accounts/alice"]
    assert isinstance(alice, Account)
    assert (alice.balance, alice.pending_debits) == (DEPOSIT - paid, 0)


def test_two_payers_at_once_submit_each_once(
    database: Database, ledger: LedgerApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if both hold the place, as when a connection is lost and its owner does not know it yet."""
    monkeypatch.setattr(leadership, "try_acquire", lambda *_: True)
    asked = requests(60)
    with simulated() as simulator, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(paying(database, ledger, simulator=reached(simulator)))
        ask(ledger, asked)
        await_states(ledger, asked, "completed")
        books = simulator.books.shown()
    assert [line["submissions"] for line in books] == [1] * 60
    assert {found(ledger, of).attempts for of in asked} == {1}


def test_one_holds_the_place_and_another_takes_it_over(database: Database, ledger: LedgerApplication) -> None:
    first, second = requests(5, prefix="a"), requests(5, prefix="b")
    with simulated() as simulator, paying(database, ledger, simulator=reached(simulator)):
        with paying(database, ledger, simulator=reached(simulator)):
            ask(ledger, first)
            await_states(ledger, first, "completed")
        ask(ledger, second)
        await_states(ledger, second, "completed")
        assert [line["submissions"] for line in simulator.books.shown()] == [1] * 10


def test_it_survives_the_loss_of_its_connection(
    database: Database, ledger: LedgerApplication, owner: Connection[Any]
) -> None:
    asked: list[RequestPayout] = []
    with simulated() as simulator, paying(database, ledger, simulator=reached(simulator)):
        for round in range(4):
            more = requests(10, prefix=f"r{round}-")
            ask(ledger, more)
            cut(owner, "tallystick payer")
            asked += more
        await_states(ledger, asked, "completed")
        assert {line["submissions"] for line in simulator.books.shown()} == {1}


class Stubborn:
    """A test's own provider: a function decides each call."""

    patience_seconds = 1.0

    def __init__(self, answer: Any, max_calls: int = 2) -> None:
        self.max_calls = max_calls
        self.orders: list[Order] = []
        self._answer = answer
        self._lock = threading.Lock()

    def submit(self, order: Order) -> Report:
        return self._call(order)

    def ask(self, order: Order) -> Report:
        return self._call(order)

    def _call(self, order: Order) -> Report:
        with self._lock:
            self.orders.append(order)
        report: Report = self._answer(order)
        return report

    def read_callback(self, payload: Any) -> Callback:
        raise ValueError

    def close(self) -> None:
        """Nothing to release."""


def test_one_that_hangs_keeps_nobody_else_waiting(database: Database, ledger: LedgerApplication) -> None:
    hanging = threading.Event()

    def hang(order: Order) -> Report:
        hanging.wait(60)
        raise NoAnswer("at last")

    slow = Stubborn(hang)
    waiting, quick = requests(50, "slow", "s"), requests(20, "simulator", "q")
    with simulated() as simulator, paying(database, ledger, slow=slow, simulator=reached(simulator)):
        ask(ledger, waiting)
        eventually(lambda: len(slow.orders) == slow.max_calls)
        ask(ledger, quick)
        await_states(ledger, quick, "completed")
        assert len(slow.orders) == slow.max_calls, "its calls are bounded"
        hanging.set()


def test_a_silence_and_its_end_are_said_once_and_all_in_doubt_is_asked_at_its_end(
    database: Database, ledger: LedgerApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Payouts that were long asked for in vain have their next inquiry minutes away. They must not wait for that."""
    monkeypatch.setattr(provider_health, "SILENT_AFTER_SECONDS", 0.3)
    monkeypatch.setattr(
        payout_aggregate, "FIRST_INQUIRY_SECONDS", 120.0
    )  # of the second inquiry: four minutes
    is_away = threading.Event()
    is_away.set()

    def answer(order: Order) -> Report:
        if is_away.is_set():
            raise NoAnswer("nobody is there")
        return Report("completed")

    provider = Stubborn(answer, max_calls=3)
    early, late = requests(30, prefix="early"), requests(1, prefix="late")
    with capture_logs() as logs, paying(database, ledger, simulator=provider):
        ask(ledger, early)
        await_states(ledger, early, "in_doubt")
        silent_until = monotonic() + 0.4
        eventually(lambda: monotonic() > silent_until)
        more = requests(1, prefix="more")
        ask(ledger, more)
        await_states(ledger, more, "in_doubt")
        is_away.clear()
        ask(ledger, late)
        await_states(ledger, [*early, *more, *late], "completed")
    said = [line["event"] for line in logs if line["event"].startswith("provider ")]
    assert said == ["provider is silent", "provider answers again"]
    (silent,) = [line for line in logs if line["event"] == "provider is silent"]
    assert (silent["provider"], silent["reason"]) == ("simulator", "nobody is there")


def test_a_silence_is_over_once_nothing_waits_for_the_provider(
    database: Database, ledger: LedgerApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for in vain was ended by somebody else, so no call shows that the provider answers again."""
    monkeypatch.setattr(provider_health, "SILENT_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(payers, "REMIND_SECONDS", 0.1)

    def answer(order: Order) -> Report:
        raise NoAnswer("nobody is there")

    (asked,) = requests(1)
    over = "nothing waits for the provider that was silent"
    with capture_logs() as logs, paying(database, ledger, simulator=Stubborn(answer)):
        ask(ledger, [asked])
        await_states(ledger, [asked], "in_doubt")
        eventually(lambda: "provider is silent" in {line["event"] for line in logs})
        assert over not in {line["event"] for line in logs}
        ledger.perform(CompletePayout(CONTEXT, found(ledger, asked), a_mark(), "it was paid"))
        eventually(lambda: over in {line["event"] for line in logs})


def test_an_adapter_that_fails_leaves_payouts_in_doubt_and_is_logged(
    database: Database, ledger: LedgerApplication
) -> None:
    (asked,) = requests(1, "broken")
    with (
        capture_logs() as logs,
        paying(database, ledger, broken=Stubborn(lambda order: order.nonsense)),
    ):
        ask(ledger, [asked])
        await_states(ledger, [asked], "in_doubt")
    assert any(line["event"] == "provider's adapter failed" for line in logs)
    step = next(step for step in found(ledger, asked).history if step.event == "unanswered")
    assert step.detail == "AttributeError in the adapter"


def test_each_call_is_observed_with_its_outcome(database: Database, ledger: LedgerApplication) -> None:
    asked = [request for name in ("broken", "simulator") for request in requests(1, name, name)]
    calls: list[tuple[str, str, str]] = []

    def observe(callee: Callee, source: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0 and callee.receiver == ""
        calls.append((callee.provider, source, outcome))

    broken = Stubborn(lambda order: order.nonsense)
    with (
        simulated() as simulator,
        paying(database, ledger, observe, broken=broken, simulator=reached(simulator)),
    ):
        ask(ledger, asked)
        await_states(ledger, asked[:1], "in_doubt")
        await_states(ledger, asked[1:], "completed")
    assert ("broken", "submission", "failed") in calls
    assert ("simulator", "submission", "answered") in calls


def test_what_waits_for_a_provider_that_is_not_configured_is_said(
    database: Database, ledger: LedgerApplication, owner: Connection[Any]
) -> None:
    ask(ledger, requests(3, "gone", "g"))
    await_head(owner, "payouts")  # logged at the start, and then once a minute
    other = requests(1)
    with simulated() as simulator:
        ask(ledger, other)
        with capture_logs() as logs, paying(database, ledger, simulator=reached(simulator)):
            await_states(ledger, other, "completed")
            eventually(lambda: any("not configured" in line["event"] for line in logs))
    (line,) = [line for line in logs if "not configured" in line["event"]]
    assert (line["provider"], line["count"]) == ("gone", 3)


def test_what_this_release_cannot_read_is_set_aside_and_the_rest_goes_on(
    database: Database, ledger: LedgerApplication, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payers, "SET_ASIDE_SECONDS", 3600.0)
    asked = requests(10)
    ask(ledger, asked)
    await_head(owner, "payouts")
    # In the payout's own stream it would halt the projection. The account's stream does not concern the projection.
    version = ledger.account("main", "alice")[0].version
    append(owner, "main/accounts/alice", version + 1, "account.frozen", NEWER)
    with (
        simulated() as simulator,
        capture_logs() as logs,
        paying(database, ledger, simulator=reached(simulator)),
    ):
        eventually(lambda: sum(line["event"] == "payout was not pursued" for line in logs) == 10)
        assert simulator.books.shown() == []


def test_what_an_operator_asks_for_is_asked(database: Database, ledger: LedgerApplication) -> None:
    (asked,) = requests(1)
    with simulated() as simulator, paying(database, ledger, simulator=reached(simulator)):
        ask(ledger, [asked])
        await_states(ledger, [asked], "completed")
        ledger.perform(ReconcilePayout(CONTEXT, found(ledger, asked), a_mark(), "please"))
        eventually(lambda: found(ledger, asked).due_at is None)
        assert found(ledger, asked).history[-1].source == "inquiry"
        assert simulator.books.shown()[0]["inquiries"] == 1


def test_a_lie_is_found_out_when_it_is_asked_about(database: Database, ledger: LedgerApplication) -> None:
    (asked,) = requests(1)
    with simulated() as simulator, paying(database, ledger, simulator=reached(simulator)):
        simulator.faults.follow(Script(amount=1, lie=True))
        ask(ledger, [asked])
        await_states(ledger, [asked], "failed")

        def is_found_out() -> bool:
            if found(ledger, asked).due_at is None:
                ledger.perform(ReconcilePayout(CONTEXT, found(ledger, asked), a_mark(), "is that so?"))
            return found(ledger, asked).state == "stuck"

        eventually(is_found_out)


# The read model.


def random_history(ledger: LedgerApplication, chance: random.Random) -> None:
    """Payouts of two providers, from two accounts, in all kinds of states."""
    ledger.perform(OpenAccount(CONTEXT, "main", "bob", opening()))
    told = Context("provider:simulator", "conversation-1")
    asked: list[RequestPayout] = []
    for n in range(60):
        account, provider = chance.choice(("alice", "bob")), chance.choice(("simulator", "other"))
        amount = chance.choice((1, 2 * DEPOSIT))
        asked.append(a_request(f"k{n}", amount, account, provider=provider))
        ask(ledger, asked[-1:])
        for of in chance.sample(asked, min(3, len(asked))):
            seen = found(ledger, of)
            if seen.state == "rejected":
                continue
            verdict: Verdict = chance.choice(("processing", "completed", "failed"))
            report = RecordReport(
                told, seen, a_mark(), "callback", Report(verdict), f"m{chance.randint(0, 200)}"
            )
            resolve = chance.choice((report, report, ReconcilePayout(CONTEXT, seen, a_mark(), "x")))
            ledger.execute(resolve, CompletePayout(CONTEXT, seen, a_mark(), "x")).result()


def rows(owner: Connection[Any], version: int) -> list[Any]:
    return owner.execute(f"SELECT * FROM payouts_v{version} ORDER BY made_position").fetchall()


def test_it_is_the_same_in_steps_of_any_size_and_rebuilt(
    database: Database, ledger: LedgerApplication, owner: Connection[Any]
) -> None:
    chance = random.Random(5)
    random_history(ledger, chance)
    head = await_head(owner, "payouts")
    expected = [state for state in folded(history(database)).values() if isinstance(state, Payout)]
    assert len(expected) == 60
    listed = list_payouts(owner, "main", limit=100)
    assert listed.rows == sorted(expected, key=lambda payout: payout.made_position)
    for version, largest in ((101, 1), (102, 7), (103, 50), (104, head)):
        queries = payouts.PROJECTION.queries(version)
        owner.execute(queries["create_tables"])
        position = 0
        while position < head:
            upto = min(head, position + chance.randint(1, largest))
            payouts.project(owner, queries, read_batch(owner, payouts.PROJECTION, position, upto).events)
            position = upto
        assert rows(owner, version) == rows(owner, 1)
        owner.execute(f"DROP TABLE payouts_v{version}")
    outcome = rebuild(database, "payouts")
    assert outcome.switched
    assert outcome.equal


def test_filters_and_what_is_due_are_those_of_the_payouts(
    database: Database, ledger: LedgerApplication, owner: Connection[Any]
) -> None:
    random_history(ledger, random.Random(6))
    await_head(owner, "payouts")
    everything = list_payouts(owner, "main", limit=100).rows
    for state in {payout.state for payout in everything}:
        for account in ("alice", "bob", None):
            for provider in ("simulator", None):
                filters = PayoutFilters(state, account, provider)
                wanted = [
                    payout
                    for payout in everything
                    if payout.state == state
                    and account in (None, payout.account)
                    and provider in (None, payout.provider)
                ]
                assert list_payouts(owner, "main", filters, limit=100).rows == wanted
                descending = list_payouts(owner, "main", filters, limit=2, descending=True).rows
                assert descending == wanted[::-1][:2]
    now = system_clock()
    due = [payout for payout in everything if payout.due_at and payout.due_at <= now]
    many = [Share("simulator", "", 100), Share("other", "", 100)]
    listed = list_due_payouts(owner, now, many, {}).found
    assert {of.id for of in listed} == {payout.id for payout in due}
    assert {of.position for of in listed} == {payout.position for payout in due}
    few = list_due_payouts(owner, now, [Share("simulator", "", 1), Share("other", "", 0)], {}).found
    assert [of.provider for of in few] == ["simulator"]
    but = list_due_payouts(owner, now, many[:1], {}, [of.id for of in few]).found
    assert few[0].id not in {of.id for of in but}
