"""Waiting for a checkpoint: one look at the database for all who wait, and none when nobody does."""

import asyncio
from collections.abc import Awaitable, Callable

from projections.transparency.checkpoints import Signed

# One is signed each second at most.
LOOK_SECONDS = 0.2

Look = Callable[[], Awaitable[Signed | None]]


class CheckpointWatch:
    """Knows when the next look is. It belongs to one event loop."""

    def __init__(self) -> None:
        self._looking: asyncio.Future[Signed | None] | None = None

    async def covering(self, size: int, look: Look, timeout_seconds: float) -> Signed | None:
        """Return the newest checkpoint once it covers a journal of a size, or what is the newest when time is over."""
        signed = await look()
        try:
            async with asyncio.timeout(timeout_seconds):
                while signed is None or signed.size < size:
                    signed = await self._next(look)
        except TimeoutError:
            pass
        return signed

    async def _next(self, look: Look) -> Signed | None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look_later(look))
        # The look is everybody's: it goes on when one of them leaves.
        return await asyncio.shield(self._looking)

    async def _look_later(self, look: Look) -> Signed | None:
        await asyncio.sleep(LOOK_SECONDS)
        return await look()
