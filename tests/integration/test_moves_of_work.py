"""What is under way when a ledger moves goes on at the new place, once: payouts, holds that expire, messages."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from domain.application import system_clock
from domain.model.errors import LedgerMoved
from domain.model.ledgers import OpenLedger
from domain.model.payouts.attempts import SubmitPayout
from domain.model.payouts.payout import Payout
from domain.model.payouts.reports import Report
from domain.model.postings import AcceptTransaction
from domain.model.times import later
from domain.placement import mover
from domain.placement.moves import cancel
from projections.process_managers import payer as payers
from projections.process_managers import provider_health
from projections.process_managers.due_worker import Worker
from projections.process_managers.payer import Payer
from projections.process_managers.providers.interface import NoAnswer, Order
from tests.databases import Databases
from tests.ledgers import CONTEXT, history, open_accounts, transfer
from tests.moving import Killed, Places, dying, two_places
from tests.outboxes import await_acknowledged, publishing, register
from tests.paying import paying, reached, simulated
from tests.payouts import a_mark, a_request
from tests.projecting import await_head, eventually, projecting
from tests.receiver import receiving

pytestmark = pytest.mark.integration


@pytest.fixture
def places(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    monkeypatch.setattr(mover, "KNOWN_SECONDS", 0.0)
    with two_places(databases) as places, projecting(places.east.database), projecting(places.west.database):
        open_accounts(places.at_east, "a", "b", "alice")
        places.at_east.perform(transfer("a", "alice", 1000))
        yield places


def count_of(places: Places, topic: str) -> tuple[int, int]:
    """How often each place has recorded, or copied, a type of event."""
    east, west = (
        sum(topic == recorded.event.TOPIC for recorded in history(place.database))
        for place in (places.east, places.west)
    )
    return east, west


def test_a_hold_that_expires_meanwhile_is_released_once(places: Places) -> None:
    holds = [
        places.at_east.perform(
            replace(transfer("a", "b", 1), pending=True, expires_at=later(system_clock(), seconds))
        ).state
        for seconds in (0.5, 1.0, 2.0)
    ]
    workers = [
        Worker(places.east.database, places.at_east),
        Worker(places.west.database, places.at_west),
    ]
    for worker in workers:
        worker.start()
    try:
        with pytest.raises(Killed):
            places.mover(dying("leave")).run()
        eventually(lambda: system_clock() > holds[1].expires_at)
        places.mover().run()
        eventually(
            lambda: all(places.at_west.transaction("main", hold.id)[0].status == "expired" for hold in holds)
        )
    finally:
        for worker in workers:
            worker.stop()
    _, west = count_of(places, "transaction.hold_expired")
    assert west == len(holds)
    assert places.at_west.account("main", "a")[0].pending_debits == 0


def test_what_was_accepted_is_carried_out_at_the_new_place(places: Places) -> None:
    posting = transfer("a", "b", 1, key="accepted")
    accepted = AcceptTransaction(
        posting.context, posting.ledger, posting.operation, posting.description, posting.entries
    )
    places.at_east.perform(accepted)
    places.mover().run()
    worker = Worker(places.west.database, places.at_west)
    worker.start()
    try:
        eventually(lambda: places.at_west.account("main", "b")[0].balance == 1)
    finally:
        worker.stop()


def test_a_payout_under_way_is_paid_once_under_its_key(places: Places) -> None:
    with simulated() as simulator:
        waiting = places.at_east.perform(a_request("waiting", 5)).state
        sent: Payout = places.at_east.perform(a_request("sent", 7)).state
        sent = places.at_east.perform(SubmitPayout(CONTEXT, sent, a_mark(), 0.1)).state
        with pytest.raises(Killed):
            places.mover(dying("leave")).run()
        with (
            paying(places.east.database, places.at_east, simulator=reached(simulator)),
            paying(places.west.database, places.at_west, simulator=reached(simulator)),
        ):
            places.mover().run()
            ids = [waiting.id, sent.id]
            eventually(lambda: all(places.at_west.payout("main", id)[0].state == "completed" for id in ids))
        paid = {payout.provider_key: payout.amount for payout in (waiting, sent)}
        books = simulator.books.shown()
        assert {line["key"]: line["amount"] for line in books} == paid
        assert [line["submissions"] for line in books] == [1, 1]
    assert places.at_west.account("main", "alice")[0].balance == 1000 - 12
    with pytest.raises(LedgerMoved):
        places.at_east.payout("main", sent.id)


def test_a_payout_that_waits_for_long_is_asked_about_once_its_ledger_has_arrived(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The payer of the new place has seen nothing of the outage, and the recorded inquiry is minutes away."""
    monkeypatch.setattr(provider_health, "SILENT_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(provider_health, "MARGIN_SECONDS", 0.0)
    with simulated() as simulator:
        nowhere = reached(simulator, url="http://127.0.0.1:1")
        asked = places.at_east.perform(a_request("asked", 5)).state
        with paying(places.east.database, places.at_east, simulator=nowhere):
            eventually(lambda: places.at_east.payout("main", asked.id)[0].state == "in_doubt")
        with paying(places.west.database, places.at_west, simulator=reached(simulator)) as payer:
            (lane,) = payer._lanes.all()
            eventually(lambda: lane.health._head is not None and lane.health.early is None)
            places.mover().run()
            eventually(lambda: places.at_west.payout("main", asked.id)[0].state == "completed")


def test_a_payout_that_waits_for_long_is_asked_about_if_its_ledger_stays_after_all(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider is not known to answer again before the move is cancelled, since nobody may be asked about."""
    monkeypatch.setattr(provider_health, "SILENT_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(provider_health, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(provider_health, "MARGIN_SECONDS", 0.0)
    monkeypatch.setattr(payers, "REMIND_SECONDS", 0.1)
    with simulated() as simulator:
        provider = reached(simulator)

        def is_not_there(order: Order) -> Report:
            raise NoAnswer("nobody is there")

        asked = places.at_east.perform(a_request("asked", 5)).state
        with monkeypatch.context() as away:
            away.setattr(provider, "submit", is_not_there)
            away.setattr(provider, "ask", is_not_there)
            payer = Payer(places.east.database, places.at_east, {"simulator": provider})
            payer.start()
            eventually(lambda: places.at_east.payout("main", asked.id)[0].state == "in_doubt")
            with pytest.raises(Killed):
                places.mover(dying("rest")).run()
            for _ in range(5):
                reminded_at = payer._remind_at
                eventually(lambda before=reminded_at: payer._remind_at > before)  # type: ignore[misc]
        try:
            with places.east.database.connect("test") as connection:
                assert cancel(connection, "main", CONTEXT)
            eventually(lambda: places.at_east.payout("main", asked.id)[0].state == "completed")
        finally:
            payer.stop()
            provider.close()


def test_each_event_is_told_by_the_place_that_recorded_it(places: Places) -> None:
    with (
        receiving() as at_east,
        receiving() as at_west,
        places.east.database.connect("test") as east,
        places.west.database.connect("test") as west,
    ):
        old, new = register(east, at_east.url), register(west, at_west.url)
        places.at_west.perform(OpenLedger(CONTEXT, "other", {}))
        for _ in range(5):
            places.at_east.perform(transfer("a", "b", 1))
        places.mover().run()
        places.at_west.perform(transfer("a", "b", 1))
        await_head(east)
        await_head(west)
        with publishing(places.east.database), publishing(places.west.database):
            await_acknowledged(east, old.id, 5 * 3 + 2)
            await_acknowledged(west, new.id, 1 + 1 + 3)
        told = [message.event().get_type() for message in at_west.received]
        assert sorted(told) == sorted(
            ["ledger.opened", "ledger.arrived", *["account.entries_posted"] * 2, "transaction.posted"]
        )
