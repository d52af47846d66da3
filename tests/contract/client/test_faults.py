"""The client through a network that loses requests and answers: no call ends unknown, and none is applied twice."""

import asyncio
import logging
import random
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.client import (
    Done,
    Outcome,
    OutcomeUnknown,
    Policy,
    Post,
    Refused,
    Tallystick,
    Unreachable,
    credit,
    debit,
    expect_done,
)
from api.client.problems import IdempotencyKeyReused
from api.client.refusals import BatchRejected, InsufficientFunds
from api.client.resources import Transaction
from tests.contract.client.callers import Caller, the_journal_agrees
from tests.contract.client.scenes import opened
from tests.contract.serving import KEY, Served
from tests.faulty_proxy import MOSTLY_WITHOUT, Fault, FaultyProxy

CALLS, TASKS = 2_000, 16
DEADLINE = Policy(
    deadline_seconds=0.4, last_deadline_seconds=20, attempt_seconds=0.2, longest_pause_seconds=0.1
)


def test_no_call_ends_unknown_and_none_is_applied_twice(
    served: Served, proxy: FaultyProxy, name: str
) -> None:
    chance = random.Random(7)

    async def run() -> list[Outcome[Transaction]]:
        async with opened(proxy.url, name) as ledger:
            proxy.plan(chance.choices(MOSTLY_WITHOUT, k=2 * CALLS))
            callers = [Caller(ledger, random.Random(number)) for number in range(TASKS)]
            await asyncio.gather(*[caller.call(CALLS // TASKS) for caller in callers])
            assert proxy.planned < CALLS
            proxy.plan([])
            return [outcome for caller in callers for outcome in caller.outcomes]

    outcomes = asyncio.run(run())
    assert len(outcomes) == CALLS // TASKS * TASKS
    assert {type(outcome) for outcome in outcomes} == {Done, Refused}
    asyncio.run(checked(served.url, name, outcomes))


async def checked(url: str, name: str, outcomes: list[Outcome[Transaction]]) -> None:
    """Assert that the journal agrees, without faults."""
    async with Tallystick(url, KEY) as tally:
        await the_journal_agrees(tally.ledger(name), outcomes)


def once(
    proxy: FaultyProxy, name: str, policy: Policy, faults: list[Fault], key: str
) -> Outcome[Transaction]:
    """Post once through faults."""

    async def run() -> Outcome[Transaction]:
        async with opened(proxy.url, name), Tallystick(proxy.url, KEY, policy) as hurried:
            proxy.plan(faults)
            outcome = await hurried.ledger(name).post(debit("cash", 5), credit("bob", 5), key=key)
            assert proxy.planned == 0
            return outcome

    return asyncio.run(run())


def test_after_the_deadline_it_asks_and_knows(
    proxy: FaultyProxy, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every attempt until the deadline loses its answer, so only the operation tells."""
    with caplog.at_level(logging.INFO, "tallystick_client"):
        outcome = once(proxy, name, DEADLINE, [Fault.ANSWER_WITHHELD] * 3, "lost")
    assert isinstance(outcome, Done) and outcome.is_replayed
    assert outcome.transaction.idempotency_key == "lost"
    assert "under the key lost" in caplog.text and "what became of the key lost?" in caplog.text


def test_what_never_arrived_is_sent_again_after_the_deadline(proxy: FaultyProxy, name: str) -> None:
    attempts = Policy(deadline_seconds=5, last_deadline_seconds=20, max_attempts=2)
    outcome = once(proxy, name, attempts, [Fault.REQUEST_LOST] * 2, "k")
    assert isinstance(outcome, Done) and not outcome.is_replayed


def test_the_operation_of_another_request_is_not_taken_for_its_own(proxy: FaultyProxy, name: str) -> None:
    async def run() -> None:
        attempts = Policy(deadline_seconds=5, last_deadline_seconds=20, max_attempts=1)
        async with opened(proxy.url, name) as ledger, Tallystick(proxy.url, KEY, attempts) as hurried:
            expect_done(await ledger.post(debit("cash", 5), credit("bob", 5), key="k"))
            proxy.plan([Fault.REQUEST_LOST])
            with pytest.raises(IdempotencyKeyReused):
                await hurried.ledger(name).post(debit("cash", 6), credit("bob", 6), key="k")
            proxy.plan([Fault.ANSWER_LOST])
            refused = await hurried.ledger(name).post(debit("alice", 6), credit("bob", 6), key="r")
            assert isinstance(refused, Refused) and isinstance(refused.problem, InsufficientFunds)

    asyncio.run(run())


@pytest.mark.parametrize("reference", ["", 'é\n"\\/\u2028\x7f', "𝄞"])
def test_the_fingerprint_of_its_own_request_is_recognized(
    proxy: FaultyProxy, name: str, reference: str
) -> None:
    """All answers to the requests are lost, so only the operations tell, and none is sent once more for that."""
    attempts = Policy(deadline_seconds=5, last_deadline_seconds=20, max_attempts=1, attempt_seconds=5)

    async def run() -> None:
        async with opened(proxy.url, name) as ledger, Tallystick(proxy.url, KEY, attempts) as hurried:
            once = hurried.ledger(name)

            async def told(call: Awaitable[Outcome[Transaction]]) -> Transaction:
                proxy.plan([Fault.ANSWER_LOST, Fault.NOTHING, Fault.NOTHING, Fault.REQUEST_LOST])
                done = await call
                assert isinstance(done, Done) and done.is_replayed and proxy.planned == 1
                proxy.plan([])
                return done.transaction

            entries = debit("cash", 9), credit("bob", 9)
            more: dict[str, Any] = {"reference": reference, "metadata": {"k": reference}}
            later = datetime.now(UTC) + timedelta(hours=1)
            held = await told(once.hold(*entries, expires_at=later, **more))
            settled = await told(once.settle(held.id, amount=5, **more))
            await told(once.reverse(settled.id, amount=2, **more))
            held = expect_done(await ledger.hold(*entries))
            await told(once.void(held.id, **more))

    asyncio.run(run())


def test_a_service_that_is_never_reached_leaves_the_key(proxy: FaultyProxy, name: str) -> None:
    short = Policy(deadline_seconds=0.2, last_deadline_seconds=0.6, attempt_seconds=0.1)

    async def run() -> None:
        async with opened(proxy.url, name) as ledger, Tallystick(proxy.url, KEY, short) as hurried:
            proxy.plan([Fault.ANSWER_LOST] * 1_000)
            with pytest.raises(OutcomeUnknown) as unknown:
                await hurried.ledger(name).post(debit("cash", 5), credit("bob", 5))
            with pytest.raises(Unreachable):
                await hurried.ledger(name).accounts.get("bob")
            proxy.plan([])
            key = unknown.value.key
            assert key in str(unknown.value)
            outcome = await ledger.outcome_of(key)
            assert isinstance(outcome, Done) and outcome.transaction.idempotency_key == key
            again = await ledger.post(debit("cash", 5), credit("bob", 5), key=key)
            assert isinstance(again, Done) and again.is_replayed
            assert (await ledger.accounts.get("bob")).balance == 5

    asyncio.run(run())


@pytest.mark.parametrize("faults", [[Fault.ANSWER_LOST] * 3, [Fault.REQUEST_LOST, Fault.ANSWER_WITHHELD]])
def test_each_kind_of_call_survives(proxy: FaultyProxy, name: str, faults: list[Fault]) -> None:
    async def run() -> None:
        async with opened(proxy.url, name) as ledger:
            proxy.plan(faults)
            held = expect_done(await ledger.hold(debit("cash", 9), credit("bob", 9)))
            proxy.plan(faults)
            settled = expect_done(await ledger.settle(held.id, amount=5))
            proxy.plan(faults)
            expect_done(await ledger.reverse(settled.id, amount=2))
            released = expect_done(await ledger.hold(debit("cash", 9), credit("bob", 9)))
            proxy.plan(faults)
            assert expect_done(await ledger.void(released.id)).related.voids == released.id
            proxy.plan(faults)
            expect_done(await ledger.accepted.post(debit("cash", 7), credit("bob", 7)))
            proxy.plan(faults)
            items = [Post((debit("cash", 1), credit("bob", 1))) for _ in range(10)]
            assert [type(outcome) for outcome in await ledger.batch(items)] == [Done] * 10
            proxy.plan(faults)
            with pytest.raises(BatchRejected):
                await ledger.batch([Post((debit("alice", 1), credit("bob", 1)))], "atomic")
            proxy.plan(faults)
            assert (await ledger.accounts.freeze("bob")).status == "frozen"
            proxy.plan(faults)
            assert [entry.amount async for entry in ledger.accounts.entries("bob")] == [5, 2, 7, *[1] * 10]
            assert (await ledger.accounts.get("bob")).balance == 5 - 2 + 7 + 10

    asyncio.run(run())
