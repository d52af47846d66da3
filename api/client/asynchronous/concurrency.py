"""What the two clients do differently: pauses, limits, turns, answers that are waited for, work beside the caller."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ..errors import Unusable

T = TypeVar("T")

pause = asyncio.sleep
within = asyncio.timeout
"""Raises `TimeoutError` if what is done in it takes longer than so many seconds."""


class Home:
    """Where a client was first used. Its connections cannot be used in another event loop, nor by two processes."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None

    def expect(self) -> None:
        """Raise `Unusable` anywhere else."""
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._process != os.getpid():
            raise Unusable("this client was made in another process, before a fork: make one in each")
        if self._loop is not loop:
            raise Unusable("this client was used in another event loop: make one in each")


class Turns:
    """Turns to send, as many at once as there are connections. Those who wait get theirs in order."""

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    async def take(self, seconds: float) -> bool:
        """Wait for a turn. Return whether it came in time."""
        if not self._free.locked():
            return await self._free.acquire()
        try:
            # Not `wait_for`, which loses a cancellation that comes together with the turn.
            async with asyncio.timeout(seconds):
                return await self._free.acquire()
        except TimeoutError:
            return False

    def give_back(self) -> None:
        """Let the next one have a turn."""
        self._free.release()


class Promise(Generic[T]):
    """A value that somebody else will give."""

    def __init__(self) -> None:
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more, because the caller was cancelled."""
        return self._future.cancelled()

    async def wait(self) -> T:
        """Return the value, or raise the exception given instead."""
        return await self._future

    def keep(self, value: T) -> None:
        """Give the value. A caller who was cancelled meanwhile does not get it."""
        if not self._future.done():
            self._future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Give an exception instead."""
        if not self._future.done():
            self._future.set_exception(error)


class Job:
    """Work that goes on beside its caller, whatever becomes of the caller."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._task = asyncio.ensure_future(work())

    @property
    def is_finished(self) -> bool:
        """Whether the work has ended."""
        return self._task.done()

    async def join(self) -> None:
        """Wait until the work is finished. Whoever is cancelled while waiting does not cancel it."""
        await asyncio.wait([self._task])
