"""Coalescing: requests of many callers travel together, and each ends as if it had travelled alone."""

import asyncio
import sys
from collections import Counter
from time import perf_counter

import pytest

from api.client import Done, Ledger, Policy, Refused, Tallystick, credit, debit, expect_done
from api.client.asynchronous.postings import Postings
from api.client.problems import UnbalancedTransaction
from api.client.refusals import InsufficientFunds
from tests.contract.client.scenes import opened, play
from tests.contract.serving import KEY, Served
from tests.faulty_proxy import Fault, FaultyProxy

TASKS, POSTS = 64, 640


def test_each_caller_gets_its_own_outcome(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        async with ledger.coalescing() as together:
            outcomes = await asyncio.gather(
                *[
                    together.post(debit("cash", 1), credit("bob", 1), key=f"k{number}")
                    for number in range(200)
                ],
                together.post(debit("alice", 1), credit("bob", 1), key="refused"),
                together.hold(debit("cash", 1), credit("bob", 1), key="held"),
            )
        assert [outcome.key for outcome in outcomes[:200]] == [f"k{number}" for number in range(200)]
        assert [type(outcome) for outcome in outcomes] == [Done] * 200 + [Refused, Done]
        refused = outcomes[200]
        assert isinstance(refused, Refused) and isinstance(refused.problem, InsufficientFunds)
        # Requests of one commit have one recorded time, so these travelled together.
        times = {expect_done(outcome).recorded_at for outcome in outcomes if isinstance(outcome, Done)}
        assert len(times) < 20
        assert (await ledger.accounts.get("bob")).balance == 200
        # A list goes on over its pages, of a hundred each.
        balances = [entry.balance_after async for entry in ledger.accounts.entries("bob")]
        assert balances == list(range(1, 201))

    play(served.url, name, scene)


def test_a_malformed_request_does_not_concern_the_others(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        async with ledger.coalescing() as together:
            wrong = [
                together.post(debit("cash", 1), credit("bob", 2)),
                together.post(debit("cash", 1), credit("not an address", 1)),
                together.post(debit("cash", 1), credit("bob", 1), key="no/key"),
                together.post(debit("cash", 1), credit("bob", 1), metadata={"k": object()}),
            ]
            right = [together.post(debit("cash", 1), credit("bob", 1)) for _ in range(20)]
            ended = await asyncio.gather(*right[:10], *wrong, *right[10:], return_exceptions=True)
        assert [type(outcome) for outcome in (*ended[:10], *ended[14:])] == [Done] * 20
        assert isinstance(ended[10], UnbalancedTransaction)
        assert all(isinstance(error, Exception) for error in ended[10:14])
        assert isinstance(ended[13], TypeError)
        assert (await ledger.accounts.get("bob")).balance == 20

    play(served.url, name, scene)


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.ANSWER_WITHHELD])
def test_lost_batches_are_carried_out_once(proxy: FaultyProxy, name: str, fault: Fault) -> None:
    async def run() -> None:
        async with opened(proxy.url, name) as ledger, ledger.coalescing() as together:
            proxy.plan([fault, Fault.NOTHING, fault, fault])
            posts = [together.post(debit("cash", 1), credit("bob", 1)) for _ in range(100)]
            assert {type(outcome) for outcome in await asyncio.gather(*posts)} == {Done}
            assert (await ledger.accounts.get("bob")).balance == 100

    asyncio.run(run())


def test_callers_who_leave_do_not_stop_the_others(served: Served, name: str) -> None:
    """Two batches of a thousand are on their way or wait. Who leaves before his is sent moves no money."""

    async def scene(ledger: Ledger) -> None:
        async with ledger.coalescing() as together:
            posts = [
                asyncio.ensure_future(together.post(debit("cash", 1), credit("bob", 1), key=f"k{number}"))
                for number in range(2_000)
            ]
            await asyncio.sleep(0)
            leaving = posts[3::7]
            for post in leaving:
                post.cancel()
            ended = await asyncio.gather(*posts, return_exceptions=True)
        assert all(post.cancelled() for post in leaving)
        kinds = Counter(type(outcome) for outcome in ended)
        assert kinds == {Done: len(posts) - len(leaving), asyncio.CancelledError: len(leaving)}
        recorded = {event.idempotency_key async for event in ledger.events(type="transaction.posted")}
        assert {f"k{number}" for number, post in enumerate(posts) if not post.cancelled()} <= recorded
        assert len(recorded) == (await ledger.accounts.get("bob")).balance
        assert "k1991" in {f"k{number}" for number in range(3, 2_000, 7)} - recorded

    play(served.url, name, scene, Policy())


async def transfers_per_second(postings: Postings) -> float:
    """Post from 64 tasks of this process, each one after the other."""
    remaining = iter(range(POSTS))

    async def post() -> None:
        for _ in remaining:
            expect_done(await postings.post(debit("cash", 1), credit("bob", 1)))

    began = perf_counter()
    await asyncio.gather(*[post() for _ in range(TASKS)])
    return POSTS / (perf_counter() - began)


def test_how_many_transfers_a_second_travel_alone_and_together(
    served: Served, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints the figures (`pytest -s`). No timing decides."""

    async def run() -> tuple[float, float, int]:
        async with opened(served.url, name, Policy()) as ledger, Tallystick(served.url, KEY) as warm:
            await transfers_per_second(warm.ledger(name))
            alone = await transfers_per_second(ledger)
            async with ledger.coalescing() as postings:
                together = await transfers_per_second(postings)
            return alone, together, (await ledger.accounts.get("bob")).balance

    alone, together, balance = asyncio.run(run())
    rates = f"{alone:,.0f} transfers/s alone, {together:,.0f}/s together: {together / alone:.1f} times"
    with capsys.disabled():
        sys.stdout.write(f"\n{TASKS} tasks: {rates}\n")
    assert balance == 3 * POSTS
