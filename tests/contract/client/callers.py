"""Callers that move money through the client and read their own writes, and the journal's word on it."""

import random
from collections import Counter

from api.client import Done, Ledger, Outcome, credit, debit
from api.client.resources import Transaction

ACCOUNTS = ["cash", "alice", "bob"]


class Caller:
    """A task that moves money and reads its own writes."""

    def __init__(self, ledger: Ledger, chance: random.Random) -> None:
        self._ledger, self._chance = ledger, chance
        self.outcomes: list[Outcome[Transaction]] = []

    async def call(self, times: int) -> None:
        """Make calls of several kinds, one after the other."""
        for _ in range(times):
            debited, credited = self._chance.sample(ACCOUNTS, 2)
            amount = self._chance.randint(1, 900)
            outcome = await self._ledger.post(debit(debited, amount), credit(credited, amount))
            self.outcomes.append(outcome)
            if isinstance(outcome, Done) and self._chance.random() < 0.2:
                await self._reads_its_write(outcome.transaction)

    async def _reads_its_write(self, made: Transaction) -> None:
        found = self._ledger.transactions(correlation_id=made.correlation_id, recorded_from=made.recorded_at)
        assert made.id in [shown.id async for shown in found]


async def the_journal_agrees(ledger: Ledger, outcomes: list[Outcome[Transaction]]) -> None:
    """Assert that each outcome is in the journal, once and as it was told, and nothing else."""
    told = {outcome.key: "posted" if isinstance(outcome, Done) else "rejected" for outcome in outcomes}
    recorded: Counter[tuple[str, str]] = Counter()
    async for event in ledger.events():
        if event.type in ("transaction.posted", "transaction.rejected"):
            recorded[str(event.idempotency_key), event.type.partition(".")[2]] += 1
    assert recorded == Counter(told.items())
    balances = Counter(dict.fromkeys(ACCOUNTS, 0))
    for outcome in outcomes:
        if isinstance(outcome, Done):
            for entry in outcome.transaction.entries:
                balances[entry.account] += entry.amount * (1 if entry.direction == "credit" else -1)
    async for account in ledger.accounts.list():
        credited = account.posted.credits - account.posted.debits
        assert (account.address, credited) == (account.address, balances[account.address])
