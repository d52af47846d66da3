"""What the two clients do differently: pauses, answers that are waited for, and work beside the caller."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

pause = asyncio.sleep


class Promise(Generic[T]):
    """A value that somebody else will give."""

    def __init__(self) -> None:
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    async def wait(self) -> T:
        """Return the value, or raise the exception given instead."""
        return await self._future

    def keep(self, value: T) -> None:
        """Give the value. A caller who was cancelled meanwhile does not get it."""
        if not self._future.done():
            self._future.set_result(value)

    def fail(self, error: BaseException) -> None:
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
        """Wait until the work is finished."""
        await self._task
