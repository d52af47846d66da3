"""Runs a test's coroutine with a client and a ledger of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from api.client import Ledger, Policy, Tallystick
from tests.contract.serving import KEY

HURRIED = Policy(attempt_seconds=0.5, first_pause_seconds=0.01, longest_pause_seconds=0.2)


@asynccontextmanager
async def opened(url: str, name: str, policy: Policy = HURRIED) -> AsyncIterator[Ledger]:
    """A new ledger with three accounts: `cash`, `alice`, who may not go below zero, and `bob`, who has a limit."""
    async with Tallystick(url, KEY, policy) as tally:
        ledger = await tally.open_ledger(name)
        await ledger.accounts.open("cash", "USD/2", "debit")
        await ledger.accounts.open("alice", "USD/2", "credit", min_balance=0)
        await ledger.accounts.open("bob", "USD/2", "credit", max_balance=100_000)
        yield ledger


def play(url: str, name: str, scene: Callable[[Ledger], Awaitable[None]], policy: Policy = HURRIED) -> None:
    """Run a scene with a new ledger."""

    async def run() -> None:
        async with opened(url, name, policy) as ledger:
            await scene(ledger)

    asyncio.run(run())
