"""Something else answers in place of the ledger, which has done what was asked: each call still ends as it should."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from api.client import Done, Ledger, Outcome, Post, Refused, Tallystick, credit, debit, synchronous
from api.client.problem import Unavailable
from api.client.resources import Transaction
from tests.contract.client.forgeries import FORGERIES, NEVER_BEGUN
from tests.contract.client.scenes import HURRIED, opened
from tests.contract.serving import KEY
from tests.faulty_proxy import FaultyProxy, Forgery

# So that asking for the key is a part of each test, and what is slow is given up soon.
ONE_ATTEMPT = replace(HURRIED, max_attempts=1)
# A service that asks for more time than is left is asked again after half of that.
IMPATIENT = replace(HURRIED, deadline_seconds=8.0, last_deadline_seconds=8.0)
PAID = debit("cash", 5), credit("bob", 5)
TOO_MUCH = debit("alice", 5), credit("bob", 5)


async def posted(ledger: Ledger) -> Outcome[Transaction]:
    return await ledger.post(*PAID)


async def accepted(ledger: Ledger) -> Outcome[Transaction]:
    return await ledger.accepted.post(*PAID)


async def in_a_batch(ledger: Ledger) -> Outcome[Transaction]:
    (outcome,) = await ledger.batch([Post(PAID)])
    return outcome


async def together(ledger: Ledger) -> Outcome[Transaction]:
    async with ledger.coalescing() as postings:
        return await postings.post(*PAID)


@pytest.mark.parametrize("forgery", (FORGERIES | NEVER_BEGUN).values(), ids=FORGERIES | NEVER_BEGUN)
def test_no_call_believes_another(proxy: FaultyProxy, name: str, forgery: Forgery) -> None:
    async def run() -> None:
        async with (
            opened(proxy.url, name) as ledger,
            Tallystick(proxy.url, KEY, ONE_ATTEMPT) as once,
            Tallystick(proxy.url, KEY, IMPATIENT) as impatient,
        ):
            alone, many = once.ledger(name), impatient.ledger(name)
            for calling, call in (
                (alone, posted),
                (alone, accepted),
                (many, in_a_batch),
                (many, together),
            ):
                proxy.plan([forgery])
                outcome = await call(calling)
                assert isinstance(outcome, Done) and outcome.is_replayed and proxy.planned == 0
            proxy.plan([forgery])
            refused = await once.ledger(name).post(*TOO_MUCH)
            assert isinstance(refused, Refused) and refused.problem.code == "insufficient_funds"
            assert (await ledger.accounts.get("bob")).balance == 20

    asyncio.run(run())


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_nor_without_an_event_loop(proxy: FaultyProxy, name: str, forgery: Forgery) -> None:
    with synchronous.Tallystick(proxy.url, KEY, HURRIED) as tally:
        ledger = tally.open_ledger(name)
        for address in ("cash", "bob"):
            ledger.accounts.open(address, "USD/2", "credit")
        proxy.plan([forgery])
        outcome = ledger.post(*PAID)
        assert isinstance(outcome, Done) and outcome.is_replayed
        assert ledger.accounts.get("bob").balance == 5


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_nor_does_a_list(proxy: FaultyProxy, name: str, forgery: Forgery) -> None:
    """What may be repeated is repeated; anything else is told as what it is, and not as an answer of the ledger."""

    async def run() -> None:
        async with opened(proxy.url, name) as ledger:
            await ledger.post(*PAID)
            proxy.plan([forgery])
            shown = None
            with suppress(Unavailable):
                shown = [entry.amount async for entry in ledger.accounts.entries("bob")]
            assert shown in ([5], None) and proxy.planned == 0

    asyncio.run(run())
