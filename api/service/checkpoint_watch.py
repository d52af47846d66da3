"""Waiting for a checkpoint: one query serves all who wait, and none runs while nobody waits."""

import asyncio
from collections.abc import Awaitable, Callable

from projections.transparency.checkpoints import Signed

# Checkpoints are signed at most once a second.
LOOK_SECONDS = 0.2

Look = Callable[[], Awaitable[Signed | None]]


class CheckpointWatch:
    """Shares the next query among all who wait. It belongs to one event loop."""

    def __init__(self) -> None:
        self._looking: asyncio.Future[Signed | None] | None = None

    async def covering(self, size: int, look: Look, timeout_seconds: float) -> Signed | None:
        """Return the newest checkpoint as soon as it covers `size` events. At the timeout, return whichever is the
        newest."""
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
        # The query is shared, so it goes on when one of the waiters leaves.
        return await asyncio.shield(self._looking)

    async def _look_later(self, look: Look) -> Signed | None:
        await asyncio.sleep(LOOK_SECONDS)
        return await look()
