"""kill -9 of API processes under the client's calls, through a network that loses requests and answers.

Each call ends as done or refused, and the journal has it once. `TALLYSTICK_CALLS=100000` makes so many.
"""

import asyncio
import os
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from api.client import Done, Outcome, Policy, Refused, Tallystick
from api.client.resources import Transaction
from tests.chaos.load import KILLS, an_api_process
from tests.contract.client.callers import ACCOUNTS, Caller, the_journal_agrees
from tests.faulty_proxy import MOSTLY_WITHOUT, FaultyProxy
from tests.service import KEY, Service, serving

CALLS = int(os.environ.get("TALLYSTICK_CALLS", "640"))
CALLS_PER_KILL = 1_000
TASKS = 16
# Each answer that is withheld costs so much of a task's time.
POLICY = Policy(attempt_seconds=2.0, longest_pause_seconds=0.5)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600 + CALLS // 50)]


def test_every_call_ends_and_is_in_the_journal_once(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "2") as service:
        address = urlsplit(service.url)
        assert address.hostname and address.port
        with FaultyProxy(address.hostname, address.port) as proxy:
            outcomes = asyncio.run(called_under_kills(service, proxy))
        assert len(outcomes) == CALLS // TASKS * TASKS
        assert {type(outcome) for outcome in outcomes} == {Done, Refused}
        asyncio.run(checked(service, outcomes))
        assert service.stop() == 0


async def called_under_kills(service: Service, proxy: FaultyProxy) -> list[Outcome[Transaction]]:
    """Move money while API processes are killed. Return what the callers were told."""
    chance = random.Random(11)
    async with Tallystick(proxy.url, KEY, POLICY) as tally:
        ledger = await tally.open_ledger("main")
        for address in ACCOUNTS:
            limit = 0 if address == "alice" else None
            await ledger.accounts.open(address, "USD/2", "credit", min_balance=limit)
        proxy.plan(chance.choices(MOSTLY_WITHOUT, k=2 * CALLS))
        callers = [Caller(ledger, random.Random(number)) for number in range(TASKS)]
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(caller.call(CALLS // TASKS))
            group.create_task(kill(service, callers, max(KILLS, CALLS // CALLS_PER_KILL)))
        assert proxy.planned < CALLS
        return [outcome for caller in callers for outcome in caller.outcomes]


async def kill(service: Service, callers: Sequence[Caller], times: int) -> None:
    """Kill an API process so often, spread over the calls."""
    for number in range(1, times + 1):
        await told(callers, number * CALLS // (times + 1))
        while (process := an_api_process(service)) is None:
            await asyncio.sleep(0.01)
        with suppress(psutil.NoSuchProcess):
            process.kill()


async def told(callers: Sequence[Caller], count: int) -> None:
    """Wait until the callers were told so many outcomes."""
    while sum(len(caller.outcomes) for caller in callers) < count:
        await asyncio.sleep(0.01)


async def checked(service: Service, outcomes: list[Outcome[Transaction]]) -> None:
    """Assert that the journal agrees, without faults."""
    async with Tallystick(service.url, KEY) as tally:
        await the_journal_agrees(tally.ledger("main"), outcomes)
