"""Bridges on real journals, of two ledgers in one installation or in two: each arrives once or stays."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest
from structlog.testing import capture_logs

from domain.application import LedgerApplication, system_clock
from domain.journal.database import Database
from domain.model.accounts import ChangeStatus, OpenAccount
from domain.model.errors import JournalUnavailable, LedgerError, LedgerNotFound
from domain.model.ledgers import OpenLedger
from domain.model.payouts import payout as payout_aggregate
from domain.model.payouts.attempts import SubmitPayout
from domain.model.payouts.bridges import received_id
from domain.model.payouts.payout import Payout, PayoutState
from domain.model.payouts.requests import RequestPayout
from domain.model.payouts.resolutions import CompletePayout, FailPayout, ReconcilePayout
from domain.model.times import Instant, moment
from domain.model.transactions import Transaction
from domain.placement.holders import Holders
from domain.placement.installations import not_served
from projections.diagnosis.trace.story import events_received, story_of_operation
from projections.diagnosis.trace.timeline import timeline
from projections.process_managers import provider_health
from projections.process_managers.lanes import IN_HAND_FOR_EACH_CALL
from projections.process_managers.payer import Payer, new_nonce
from projections.process_managers.provider_health import Callee
from projections.process_managers.providers.bridge import MAX_CALLS, BridgeProvider
from projections.process_managers.providers.interface import NoAnswer, order_of
from projections.process_managers.providers.siblings import Siblings
from projections.read_models.payouts import Share, list_due_payouts
from projections.registry import PROJECTIONS
from scripts.doctor import bridges as examination
from tests.databases import Databases
from tests.ledgers import CONTEXT, opening, running, transfer
from tests.payouts import bridge_request
from tests.projecting import eventually, projecting

pytestmark = pytest.mark.integration

DEPOSIT = 10_000
PROJECTED = [PROJECTIONS["payouts"], PROJECTIONS["balances"]]


class Side(NamedTuple):
    """A ledger with an account that has a lot, and the installation that holds it."""

    name: str
    application: LedgerApplication
    database: Database


class Both(Holders):
    """The two ledgers, and how each finds the other. `away` names those that cannot be reached now."""

    def __init__(self, east: Side, west: Side) -> None:
        super().__init__({"east": east.application, "west": west.application})
        self.east, self.west = east, west
        self.away: set[str] = set()

    def of(self, ledger: str) -> LedgerApplication:
        if ledger in self.away:
            raise JournalUnavailable("unreachable")
        return self.west.application if ledger == "west" else self.east.application

    def send(self, key: str, amount: int = 10, account: str = "alice", to: str = "alice") -> Payout:
        """Request a bridge from east to west."""
        command = bridge_request("east", key, amount, account, "west", to)
        made: Payout = self.east.application.perform(command).state
        return made

    def payout(self, of: Payout) -> Payout:
        return self.east.application.payout("east", of.id)[0]

    def received(self, of: Payout) -> Transaction:
        id = received_id("west", of.provider_key)
        return self.west.application.transaction("west", id)[0]

    def await_end(self, of: Payout, state: PayoutState) -> Payout:
        eventually(lambda: self.payout(of).ended_at is not None)
        ended = self.payout(of)
        assert ended.state == state, ended.history
        return ended

    def await_listed(self, count: int) -> Instant:
        """Wait until so many payouts of east are listed as due. Return a time at which they are."""
        shares = [Share("bridge", "", count)]
        with self.east.database.connect("test payouts") as connection:
            eventually(lambda: len(list_due_payouts(connection, system_clock(), shares, {}).found) == count)
        return system_clock()

    def balance(self, side: Side, address: str = "alice") -> int:
        return side.application.account(side.name, address)[0].balance

    def disagreement(self) -> Sequence[Any]:
        """What the doctor finds over the installations of both ledgers."""
        with ExitStack() as stack:
            databases = dict.fromkeys((self.east.database, self.west.database))
            found = [stack.enter_context(of.connect_as_owner("test doctor")) for of in databases]
            return examination.examined(found)


@contextmanager
def installed(database: Database, *names: str) -> Iterator[list[Side]]:
    """An installation with ledgers, in each of which Alice has a lot."""
    with projecting(database, PROJECTED), running(database) as application:
        for name in names:
            application.perform(OpenLedger(CONTEXT, name, {}))
            application.perform(OpenAccount(CONTEXT, name, "alice", opening(0)))
            application.perform(OpenAccount(CONTEXT, name, "vault", opening(normal_side="debit")))
            application.perform(transfer("vault", "alice", DEPOSIT, "deposit", name))
        yield [Side(name, application, database) for name in names]


@pytest.fixture(params=["one installation", "two installations"])
def both(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Both]:
    """Two ledgers, each with a lot on Alice's account."""
    with ExitStack() as stack:
        first = stack.enter_context(databases.installed())
        if request.param == "one installation":
            east, west = stack.enter_context(installed(first, "east", "west"))
        else:
            second = stack.enter_context(databases.installed())
            (east,) = stack.enter_context(installed(first, "east"))
            (west,) = stack.enter_context(installed(second, "west"))
        yield Both(east, west)


@contextmanager
def paying(both: Both, *sides: Side, provider: Any = None, **more: Any) -> Iterator[Payer]:
    """Payers of the given sides, of east alone by default. Yields the first."""
    payers = [
        Payer(side.database, side.application, {"bridge": provider or BridgeProvider(Siblings(both))}, **more)
        for side in sides or (both.east,)
    ]
    for payer in payers:
        payer.start()
    try:
        yield payers[0]
    finally:
        for payer in payers:
            payer.stop()


def test_an_amount_leaves_one_ledger_and_arrives_in_the_other(both: Both) -> None:
    with paying(both):
        sent = both.send("one", 10)
        ended = both.await_end(sent, "completed")
    made = both.received(sent)
    assert (made.status, made.id) == ("posted", ended.provider_reference)
    assert (made.correlation_id, made.reference) == (sent.correlation_id, sent.reference)
    assert made.metadata == {"from_ledger": "east", "from_payout": sent.id}
    assert [step.event for step in ended.history] == ["accepted", "submitted", "completed"]
    assert (both.balance(both.east), both.balance(both.west)) == (DEPOSIT - 10, DEPOSIT + 10)
    assert both.balance(both.east, "bridges:west:USD") == -10
    assert both.balance(both.west, "bridges:east:USD") == 10
    assert both.disagreement() == []


def test_what_was_accepted_here_is_pursued_at_once(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the payer stands by, and no read model shows it."""
    with paying(both) as payer:
        monkeypatch.setattr(payer, "_take", lambda connection: None)
        sent = both.send("one", 10)
        payer.hand_over(sent)
        payer.hand_over(sent)
        ended = both.await_end(sent, "completed")
        eventually(lambda: not payer._in_hand)
    assert ended.attempts == 1


def test_what_is_handed_over_while_the_payer_looks_is_taken_in_hand_once(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read model may show it before the payer that looks knows that it is in hand."""
    is_submitted, may_look, may_answer = threading.Event(), threading.Event(), threading.Event()
    sent = both.send("one", 10)
    now = both.await_listed(1)

    class Slow(BridgeProvider):
        patience_seconds = 60.0

        def submit(self, order: Any) -> Any:
            is_submitted.set()
            assert may_answer.wait(60.0)
            return super().submit(order)

    def handed_over_meanwhile(connection: Any, _: Any, *more: Any) -> Any:
        assert may_look.wait(60.0)
        due = list_due_payouts(connection, now, *more)
        if not is_submitted.is_set():
            assert [found.id for found in due.found] == [sent.id]
            payer.hand_over(sent)
            assert is_submitted.wait(60.0)
        return due

    monkeypatch.setattr(Payer, "_is_quiet", lambda self, connection: False)
    monkeypatch.setattr("projections.process_managers.payer.list_due_payouts", handed_over_meanwhile)
    with paying(both, provider=Slow(Siblings(both))) as payer, ExitStack() as at_end:
        at_end.callback(may_answer.set)
        may_look.set()
        eventually(is_submitted.is_set)
        (lane,) = payer._lanes.all()
        eventually(lane._queue.empty)
        may_answer.set()
        both.await_end(sent, "completed")
        eventually(lambda: not payer._in_hand)
        assert payer._looking.is_alive() and all(thread.is_alive() for thread in lane._threads)


def test_more_may_be_handed_over_while_the_payer_looks_than_there_is_room_for(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_look, may_answer = threading.Event(), threading.Event()
    sent = [both.send(f"many-{n}") for n in range(2 * IN_HAND_FOR_EACH_CALL)]
    now = both.await_listed(len(sent))
    looked: list[int] = []

    class Slow(BridgeProvider):
        max_calls = 1
        patience_seconds = 60.0

        def submit(self, order: Any) -> Any:
            assert may_answer.wait(60.0)
            return super().submit(order)

    def handed_over_meanwhile(connection: Any, _: Any, *more: Any) -> Any:
        assert may_look.wait(60.0)
        due = list_due_payouts(connection, now, *more)
        if not looked:
            listed = {found.id for found in due.found}
            for payout in sent:
                if payout.id not in listed:
                    payer.hand_over(payout)
        looked.append(len(due.found))
        return due

    monkeypatch.setattr(Payer, "_is_quiet", lambda self, connection: False)
    monkeypatch.setattr("projections.process_managers.payer.list_due_payouts", handed_over_meanwhile)
    with paying(both, provider=Slow(Siblings(both))) as payer, ExitStack() as at_end:
        at_end.callback(may_answer.set)
        may_look.set()
        eventually(lambda: len(looked) > 2)
        assert looked[:3] == [IN_HAND_FOR_EACH_CALL, 0, 0]
        assert len(payer._in_hand) == 2 * IN_HAND_FOR_EACH_CALL
        may_answer.set()
        for of in sent:
            both.await_end(of, "completed")
    assert both.balance(both.west) == DEPOSIT + 10 * len(sent)


@pytest.mark.parametrize(
    ("to", "code"),
    [("nobody", "account_not_found"), ("frozen", "account_frozen"), ("euros", "unbalanced_transaction")],
)
def test_a_refusal_of_the_other_ledger_gives_the_amount_back(both: Both, to: str, code: str) -> None:
    west = both.west.application
    west.perform(OpenAccount(CONTEXT, "west", "frozen", opening()))
    west.perform(ChangeStatus(CONTEXT, "west", "frozen", "frozen"))
    west.perform(OpenAccount(CONTEXT, "west", "euros", opening(asset="EUR/2")))
    with paying(both):
        sent = both.send("one", 10, to=to)
        ended = both.await_end(sent, "failed")
    made = both.received(sent)
    assert made.rejection is not None and made.rejection.code == code
    assert ended.history[-1].detail.startswith(f"{code}: ") and made.id in ended.history[-1].detail
    assert both.balance(both.east) == DEPOSIT
    assert both.disagreement() == []


def test_an_asset_moves_too(both: Both) -> None:
    """Both accounts have debit as their normal side: the sender's rises, and the receiver's falls."""
    with paying(both):
        both.await_end(both.send("one", 10, "vault", "vault"), "completed")
    assert both.balance(both.east, "vault") == DEPOSIT + 10
    assert both.balance(both.west, "vault") == DEPOSIT - 10
    assert both.disagreement() == []


def test_while_the_other_ledger_is_away_it_is_in_doubt_and_then_it_ends(both: Both) -> None:
    both.away.add("west")
    with paying(both):
        sent = both.send("one", 10)
        eventually(lambda: both.payout(sent).state == "in_doubt")
        assert both.disagreement() == []
        both.away.clear()
        ended = both.await_end(sent, "completed")
    assert {step.event for step in ended.history} >= {"unanswered", "submitted", "completed"}
    assert both.balance(both.west) == DEPOSIT + 10
    assert both.disagreement() == []


class Losing(BridgeProvider):
    """Loses every answer to a submission, and keeps the order, to be submitted again at any later time."""

    patience_seconds = 0.2

    def __init__(self, siblings: Siblings, *, arrives: bool) -> None:
        super().__init__(siblings)
        self._arrives = arrives
        self.orders: list[Any] = []

    def submit(self, order: Any) -> Any:
        if self.orders and not self._arrives:
            return super().submit(order)
        self.orders.append(order)
        if self._arrives:
            super().submit(order)
        raise NoAnswer("lost")


@pytest.mark.parametrize("arrives", [True, False])
def test_a_lost_answer_is_asked_for_and_a_delayed_submission_moves_nothing_more(
    both: Both, *, arrives: bool
) -> None:
    provider = Losing(Siblings(both), arrives=arrives)
    with paying(both, provider=provider):
        sent = both.send("one", 10)
        ended = both.await_end(sent, "completed")
    assert ended.attempts == (1 if arrives else 2)
    for order in provider.orders:
        assert BridgeProvider(Siblings(both)).submit(order).verdict == "completed"
    assert both.balance(both.west) == DEPOSIT + 10
    assert both.disagreement() == []


def test_a_delayed_submission_of_what_was_refused_is_refused_though_it_could_be_posted_by_then(
    both: Both,
) -> None:
    with paying(both):
        sent = both.send("one", 10, to="late")
        both.await_end(sent, "failed")
    both.west.application.perform(OpenAccount(CONTEXT, "west", "late", opening()))
    assert BridgeProvider(Siblings(both)).submit(order_of(sent)).verdict == "failed"
    assert both.balance(both.west, "late") == 0
    assert both.disagreement() == []


def test_one_that_is_stuck_does_not_hide_that_the_ledgers_disagree(both: Both) -> None:
    """An operator said that it was not paid, and a submission that was held up came all the same."""

    class Cut(BridgeProvider):
        def submit(self, order: Any) -> Any:
            raise NoAnswer("lost")

        ask = submit

    east = both.east.application
    with paying(both, provider=Cut(Siblings(both))):
        sent = both.send("one", 10)
        eventually(lambda: both.payout(sent).state == "in_doubt")
    said = CONTEXT, both.payout(sent), new_nonce(), "they are gone"
    east.perform(FailPayout(*said, confirmed=True))
    assert BridgeProvider(Siblings(both)).submit(order_of(sent)).verdict == "completed"
    # What has changed since the position of the read model may be under way.
    eventually(lambda: [found.difference for found in both.disagreement()] == [10])
    east.perform(ReconcilePayout(CONTEXT, both.payout(sent), new_nonce(), "they are back"))
    with paying(both):
        eventually(lambda: both.payout(sent).state == "stuck")
    eventually(lambda: [found.difference for found in both.disagreement()] == [10])
    east.perform(CompletePayout(CONTEXT, both.payout(sent), new_nonce(), "they have it"))
    assert both.disagreement() == []


def test_a_payer_that_dies_before_the_call_leaves_nothing_half_done(both: Both) -> None:
    sent = both.send("one", 10)
    both.east.application.perform(SubmitPayout(CONTEXT, sent, new_nonce(), 0.1))
    with paying(both):
        ended = both.await_end(sent, "completed")
    assert ended.attempts == 2
    assert both.disagreement() == []


def test_two_that_send_to_each_other_at_once_agree_in_the_end_and_meanwhile(both: Both) -> None:
    """The doctor reads both ledgers one after the other while bridges end, and raises no false alarm."""
    there = [bridge_request("east", f"e{n}", n + 1, "alice", "west", "alice") for n in range(60)]
    back = [bridge_request("west", f"w{n}", n + 1, "alice", "east", "alice") for n in range(60)]
    found: list[Sequence[Any]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            found.append(both.disagreement())

    looking = threading.Thread(target=look)
    sides = [both.east] if both.east.database == both.west.database else [both.east, both.west]
    with paying(both, *sides):
        looking.start()
        for side, asked in ((both.east, there), (both.west, back)):
            side.application.execute(*asked).result()
        for side, asked in ((both.east, there), (both.west, back)):
            for of in asked:
                eventually(lambda: is_completed(side, of))  # noqa: B023
        stop.set()
        looking.join()
    assert found and not any(found)
    assert both.disagreement() == []
    assert both.balance(both.east) == both.balance(both.west) == DEPOSIT


def is_completed(side: Side, of: RequestPayout) -> bool:
    return side.application.payout(side.name, of.operation.id)[0].state == "completed"


def test_what_somebody_posts_by_hand_is_found(both: Both) -> None:
    with paying(both):
        both.await_end(both.send("one", 10), "completed")
    both.west.application.perform(transfer("bridges:east:USD", "alice", 5, book="west"))
    eventually(lambda: [tuple(found) for found in both.disagreement()] == [(("east", "west"), "USD/2", 5)])


def test_the_trace_tells_what_both_ledgers_recorded(both: Both) -> None:
    with paying(both):
        sent = both.send("one", 10)
        both.await_end(sent, "completed")
    with both.east.database.connect("test") as connection:
        story = story_of_operation(connection, "east", sent.id)
    with both.west.database.connect("test") as connection:
        story = story._replace(
            received=tuple(events_received(connection, list(payouts_of(story.operations))))
        )
    told = [moment for moment in timeline(story) if moment.kind == "event_recorded"]
    subjects = [moment.subject.split("/")[0] for moment in told]
    assert {"east", "west"} == set(subjects)
    assert [subject for subject in subjects if subject == "west"] == ["west"] * 4
    times = [moment.time or "" for moment in told]
    assert times == sorted(times)


class Counting(BridgeProvider):
    """Counts what it is asked."""

    asked = 0

    def ask(self, order: Any) -> Any:
        self.asked += 1
        return super().ask(order)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver is silent with the first call that it does not answer, and is tried again soon."""
    monkeypatch.setattr(provider_health, "SILENT_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(provider_health, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(provider_health, "LONGEST_PAUSE_SECONDS", 0.2)


def doubts(payout: Payout) -> int:
    return sum(step.event == "unanswered" for step in payout.history)


@pytest.mark.usefixtures("_impatient")
def test_an_outage_is_recorded_once_of_each_bridge_and_its_end_is_found_out(both: Both) -> None:
    provider = Counting(Siblings(both))
    both.away.add("west")
    with paying(both, provider=provider):
        sent = [both.send(f"away-{n}") for n in range(20)]
        eventually(lambda: all(both.payout(of).state == "in_doubt" for of in sent))
        in_doubt, asked = [both.payout(of) for of in sent], provider.asked
        eventually(lambda: provider.asked > asked + 2 * len(sent))
        assert [both.payout(of) for of in sent] == in_doubt
        assert {doubts(of) for of in in_doubt} == {1}
        assert min(seconds_between(of.changed_at, of.due_at) for of in in_doubt) > 60
        both.away.clear()
        for of in sent:
            both.await_end(of, "completed")
    assert both.balance(both.west) == DEPOSIT + 10 * len(sent)


@pytest.mark.usefixtures("_impatient")
def test_a_payer_that_takes_over_asks_about_what_waits_for_long(both: Both) -> None:
    """It cannot know that the receiver was silent, and the recorded inquiries are minutes away."""
    both.away.add("west")
    with paying(both):
        sent = [both.send(f"away-{n}") for n in range(2 * IN_HAND_FOR_EACH_CALL * MAX_CALLS)]
        eventually(lambda: all(both.payout(of).state == "in_doubt" for of in sent))
    both.away.clear()
    with paying(both):
        for of in sent:
            both.await_end(of, "completed")
    assert {doubts(both.payout(of)) for of in sent} == {1}


@pytest.mark.usefixtures("_impatient")
def test_a_payer_that_takes_over_asks_about_what_the_read_model_does_not_show_yet(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_health, "MARGIN_SECONDS", 0.0)
    both.away.add("west")
    held = both.east.database.connect_as_owner("test")
    with ExitStack() as stack, held as connection:
        with connection.transaction():
            live = "SELECT version FROM projection_versions WHERE name = 'payouts' AND live"
            (version,) = connection.execute(live).fetchone() or (None,)
            connection.execute(f"LOCK TABLE payouts_v{version} IN EXCLUSIVE MODE".encode())
            with paying(both) as first:
                eventually(lambda: first._has_place)
                sent = both.send("one", 10)
                first.hand_over(sent)
                eventually(lambda: both.payout(sent).state == "in_doubt")
            both.away.clear()
            second = stack.enter_context(paying(both))
            (lane,) = second._lanes.all()
            eventually(lambda: lane.health._head is not None)
        both.await_end(sent, "completed")


@pytest.mark.usefixtures("_impatient")
def test_what_is_asked_in_vain_after_an_outage_has_its_usual_inquiries_again(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other installation is back, and cannot say yet what it did."""
    monkeypatch.setattr(payout_aggregate, "SILENT_DOUBLINGS", 12)

    class Heard(BridgeProvider):
        is_heard = False

        def ask(self, order: Any) -> Any:
            raise NoAnswer("not yet", is_heard=self.is_heard)

    provider = Heard(Siblings(both))
    both.away.add("west")
    with paying(both, provider=provider):
        sent = both.send("one", 10)
        eventually(lambda: both.payout(sent).state == "in_doubt")
        paused = both.payout(sent)
        assert seconds_between(paused.changed_at, paused.due_at) > payout_aggregate.LONGEST_INQUIRY_SECONDS
        provider.is_heard = True
        eventually(lambda: doubts(both.payout(sent)) == 2)
    asked = both.payout(sent)
    assert seconds_between(asked.changed_at, asked.due_at) < 60


@pytest.mark.usefixtures("_impatient")
def test_an_operators_question_during_an_outage_is_answered_at_its_end(both: Both) -> None:
    with paying(both):
        sent = both.send("one", 10)
        both.await_end(sent, "completed")
        both.away.add("west")
        asked = ReconcilePayout(CONTEXT, both.payout(sent), new_nonce(), "is that so?")
        both.east.application.perform(asked)
        eventually(lambda: doubts(both.payout(sent)) == 1)
        both.away.clear()
        eventually(lambda: both.payout(sent).due_at is None)
    assert both.payout(sent).state == "completed"


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("before", [None, "near"])
def test_a_receiver_whose_installation_is_found_out_or_changes_meanwhile_is_asked(
    both: Both, before: str | None
) -> None:
    """No other bridge led to the installation where it is found to be."""
    known = {} if before is None else {"west": before}
    both.away.add("west")
    with paying(both, installation_of=known.get):
        sent = both.send("one", 10)
        eventually(lambda: both.payout(sent).state == "in_doubt")
        known["west"] = "far"
        both.away.clear()
        both.await_end(sent, "completed")


def seconds_between(first: Instant, second: Instant | None) -> float:
    assert second is not None
    return (moment(second) - moment(first)).total_seconds()


def test_an_installation_that_hangs_holds_up_no_bridge_to_another(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read model finds them all at once, those to the silent one first."""
    monkeypatch.setattr(provider_health, "SILENT_AFTER_SECONDS", 0.0)
    may_answer, is_called = threading.Event(), threading.Event()

    class Hanging(BridgeProvider):
        patience_seconds = 600.0

        def submit(self, order: Any) -> Any:
            if order.destination["ledger"] == "west":
                is_called.set()
                assert may_answer.wait(60.0)
                raise NoAnswer("at last")
            return super().submit(order)

    calls: list[tuple[Callee, str]] = []

    def observe(callee: Callee, source: str, outcome: str, seconds: float) -> None:
        calls.append((callee, outcome))

    with ExitStack() as stack:
        database = stack.enter_context(databases.installed())
        east, west, _ = stack.enter_context(installed(database, "east", "west", "north"))
        both = Both(east, west)
        to_west = [both.send(f"west-{n}") for n in range(2 * IN_HAND_FOR_EACH_CALL * MAX_CALLS)]
        to_north = [bridge_request("east", f"n{n}", 10, "alice", "north", "alice") for n in range(20)]
        east.application.execute(*to_north).result()
        logs = stack.enter_context(capture_logs())
        provider = Hanging(Siblings(both))
        named = {"west": "far-west", "north": "far-north"}
        with paying(both, provider=provider, observe=observe, installation_of=named.get) as payer:
            eventually(is_called.is_set)
            for of in to_north:
                eventually(lambda of=of: is_completed(east, of))  # type: ignore[misc]
            assert not any(both.payout(of).state == "in_doubt" for of in to_west)
            may_answer.set()
            eventually(lambda: all(both.payout(of).state == "in_doubt" for of in to_west[:MAX_CALLS]))
            silent = {lane.callee.receiver for lane in payer._lanes.all() if lane.health.is_silent}
    assert silent == {"far-west"}
    assert {callee for callee, outcome in calls if outcome == "unanswered"} == {Callee("bridge", "far-west")}
    said = [line for line in logs if line["event"] == "provider is silent"]
    assert {(line["provider"], line["receiver"]) for line in said} == {("bridge", "far-west")}


def payouts_of(operations: Sequence[Any]) -> Iterator[Payout]:
    return (made for made in operations if isinstance(made, Payout))


class TestSiblings:
    def test_a_ledger_that_was_found_is_known(self, both: Both) -> None:
        siblings = Siblings(both)
        assert not siblings.is_known("west")
        assert siblings.exists("west") and siblings.is_known("west")
        assert not siblings.exists("north") and not siblings.is_known("north")

    def test_one_call_at_a_time_tries_an_installation_that_is_silent(self, both: Both) -> None:
        siblings = Siblings(both)
        with pytest.raises(JournalUnavailable), siblings.calling("west"):
            raise JournalUnavailable("unreachable")
        with ExitStack() as trying:
            trying.enter_context(siblings.calling("west"))
            with pytest.raises(NoAnswer, match="is being tried"):
                trying.enter_context(siblings.calling("west"))
        with siblings.calling("west"), siblings.calling("west"):
            pass  # it has answered, so every call is made again


def test_whatever_a_ledger_answers_that_is_no_end_is_no_answer(both: Both) -> None:
    sent = both.send("one", 10)
    errors: list[LedgerError] = [JournalUnavailable("unreachable"), LedgerNotFound()]
    for error in errors:
        provider = BridgeProvider(Siblings(Refusing(error)))
        for call in (provider.submit, provider.ask):
            with pytest.raises(NoAnswer, match=error.code):
                call(order_of(sent))
    provider = BridgeProvider(Siblings(Refusing(not_served("west"))))
    with pytest.raises(NoAnswer, match="journal_unavailable, installation_unknown"):
        provider.ask(order_of(sent))
    provider = BridgeProvider(Siblings(both))
    assert provider.ask(order_of(sent)).verdict == "unknown"
    assert provider.submit(order_of(sent)).verdict == provider.ask(order_of(sent)).verdict == "completed"
    other = order_of(sent)._replace(amount=11)
    for call in (provider.submit, provider.ask):
        with pytest.raises(NoAnswer, match="another transfer"):
            call(other)
    with pytest.raises(NoAnswer, match="names no ledger"):
        provider.submit(order_of(sent)._replace(destination={"iban": "1"}))


class Refusing(Holders):
    """Finds no ledger, and says why."""

    def __init__(self, error: LedgerError) -> None:
        self._error = error

    def of(self, ledger: str) -> LedgerApplication:
        raise self._error
