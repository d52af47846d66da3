"""kill -9 of API processes under the client's calls: each ends as done or refused, and the journal has it once."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from api.client import Done, Refused, Tallystick
from tests.chaos.load import KILLS, an_api_process
from tests.contract.client.callers import ACCOUNTS, Caller, the_journal_agrees
from tests.service import KEY, Service, serving

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

TASKS = 8


def test_every_call_ends_and_is_in_the_journal_once(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "2") as service:
        asyncio.run(killed_under_calls(service))
        assert service.stop() == 0


async def killed_under_calls(service: Service) -> None:
    """Kill API processes while callers move money, and compare what they were told with the journal."""
    async with Tallystick(service.url, KEY) as tally:
        ledger = await tally.open_ledger("main")
        for address in ACCOUNTS:
            limit = 0 if address == "alice" else None
            await ledger.accounts.open(address, "USD/2", "credit", min_balance=limit)
        callers = [Caller(ledger, random.Random(number)) for number in range(TASKS)]
        await kill_while(service, callers)
        outcomes = [outcome for caller in callers for outcome in caller.outcomes]
        assert {type(outcome) for outcome in outcomes} == {Done, Refused}
        await the_journal_agrees(ledger, outcomes)


async def kill_while(service: Service, callers: Sequence[Caller]) -> None:
    """Kill one process after every thirty outcomes, until enough were killed."""
    kills = 0
    while kills < KILLS:
        calls = [asyncio.ensure_future(caller.call(30)) for caller in callers]
        await told(callers, sum(len(caller.outcomes) for caller in callers) + 30)
        if process := an_api_process(service):
            with suppress(psutil.NoSuchProcess):
                process.kill()
                kills += 1
        await asyncio.gather(*calls)


async def told(callers: Sequence[Caller], count: int) -> None:
    """Wait until the callers were told so many outcomes."""
    while sum(len(caller.outcomes) for caller in callers) < count:
        await asyncio.sleep(0.01)
