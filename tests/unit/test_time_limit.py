"""The time limit of coroutines that seldom wait: it changes nothing but how long they may take."""

import asyncio
from collections.abc import Awaitable

import pytest

from api.http.time_limit import within

NO_LIMIT_NEEDED = 60.0


async def doubled(number: Awaitable[int]) -> int:
    return 2 * await number


async def seven() -> int:
    return 7


def test_what_need_not_wait_is_done_without_a_timer() -> None:
    """Outside an event loop no timer could be set."""
    with pytest.raises(StopIteration) as returned:
        within(NO_LIMIT_NEEDED, doubled(seven())).send(None)
    assert returned.value.value == 14


def test_what_waits_is_awaited() -> None:
    async def waiting() -> int:
        later = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(later.set_result, 7)
        first = await within(NO_LIMIT_NEEDED, doubled(later))
        await asyncio.sleep(0)
        return first + await within(NO_LIMIT_NEEDED, doubled(asyncio.sleep(0, 7)))

    assert asyncio.run(waiting()) == 28


def test_what_waits_too_long_ends_and_can_clean_up() -> None:
    ended = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        asyncio.run(within(0.0, wait_for_ever()))
    assert ended == [True]


@pytest.mark.parametrize("waits", [False, True])
def test_a_failure_is_raised_before_and_after_a_wait(waits: bool) -> None:
    async def failing() -> None:
        if waits:
            await asyncio.sleep(0)
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        asyncio.run(within(NO_LIMIT_NEEDED, failing()))


def test_a_cancellation_reaches_what_waits() -> None:
    seen = []

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def cancel_it() -> None:
        task = asyncio.create_task(within(NO_LIMIT_NEEDED, waiting()))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel_it())
    assert seen == ["cancelled"]
