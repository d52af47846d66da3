"""Payouts through the client: each is awaited to its end, or said to be still worked on."""

import asyncio
from uuid import uuid4

import pytest

from api.client import Done, Money, Policy, Refused, StillWorking, Tallystick, expect_done
from api.client.errors import InexactAmount
from api.client.refusals import InsufficientFunds
from scripts.simulator.faults import Script
from scripts.simulator.server import Simulator
from tests.contract.books import Book
from tests.contract.journals import Journal
from tests.contract.serving import KEY, Served

SHORT = Policy(deadline_seconds=0.5, last_deadline_seconds=20)


@pytest.fixture
def bank(book: Book) -> Book:
    """A ledger in which Alice has 100 and may not go below zero."""
    book.open("cash", normal_side="debit")
    book.open("alice", min_balance=0)
    assert book.transfer("cash", "alice", 100).status_code == 201
    return book


def test_a_payout_is_awaited_to_its_end(bank: Book, simulator: Simulator, served: Served) -> None:
    refused_by_provider = {"iban": uuid4().hex}
    simulator.faults.follow(Script(destination=dict(refused_by_provider), outcome="failed"))

    async def run() -> None:
        async with Tallystick(served.url, KEY) as tally:
            payouts = tally.ledger(bank.name).payouts
            paid = await payouts.request(
                "alice", Money("0.40", "USD/2"), provider="simulator", destination={"iban": uuid4().hex}
            )
            assert isinstance(paid, Done)
            assert (paid.payout.state, paid.payout.money) == ("completed", Money("0.40", "USD/2"))
            failed = await payouts.request("alice", 7, provider="simulator", destination=refused_by_provider)
            assert expect_done(failed).state == "failed"
            too_much = await payouts.request("alice", 61, provider="simulator", destination={"iban": "1"})
            assert isinstance(too_much, Refused) and isinstance(too_much.problem, InsufficientFunds)
            with pytest.raises(InexactAmount):
                await payouts.request("alice", Money(1, "JPY/0"), provider="simulator", destination={})
            states = [shown.state async for shown in payouts.list(account="alice")]
            assert states == ["completed", "failed", "rejected"]
            tried = await payouts.request(
                "alice", 60, provider="simulator", destination={"iban": "1"}, dry_run=True
            )
            assert expect_done(tried).state == "accepted"

    asyncio.run(run())


def test_a_payout_that_goes_on_can_be_asked_for_and_resolved(
    bank: Book, nothing_paid: Journal, served: Served
) -> None:
    async def run() -> None:
        async with Tallystick(served.url, KEY, SHORT) as tally:
            payouts = tally.ledger(bank.name).payouts
            going_on = await payouts.request(
                "alice", 9, provider="simulator", destination={"iban": "1"}, key="k"
            )
            assert isinstance(going_on, StillWorking) and going_on.key == "k"
            payout = await payouts.get(going_on.operation.resource.rpartition("/")[2])
            assert not payout.has_ended
            assert (await payouts.complete(payout.id, "the statement shows it")).state == "completed"
            ended = await payouts.outcome_of("k")
            assert isinstance(ended, Done) and ended.payout.has_ended

    asyncio.run(run())
