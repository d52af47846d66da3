"""How many pages of one key are made at once."""

import asyncio

from api.console.turns import PAGES_AT_ONCE, Turns
from api.security.keys import NOBODY, Key


def test_a_key_has_few_pages_made_at_once_and_others_do_not_wait_for_it() -> None:
    other = NOBODY._replace(id=NOBODY.id.__class__(int=1))

    async def crowd() -> tuple[int, int]:
        turns, under_way, most = Turns(), {NOBODY.id: 0, other.id: 0}, {NOBODY.id: 0, other.id: 0}
        gate = asyncio.Event()

        async def make(caller: Key) -> None:
            async with turns.of(caller):
                under_way[caller.id] += 1
                most[caller.id] = max(most[caller.id], under_way[caller.id])
                await gate.wait()
                under_way[caller.id] -= 1

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(make(NOBODY))
            group.create_task(make(other))
            while most[other.id] == 0:
                await asyncio.sleep(0)
            gate.set()
        return most[NOBODY.id], most[other.id]

    assert asyncio.run(crowd()) == (PAGES_AT_ONCE, 1)
