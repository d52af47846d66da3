"""The keys of one installation, as one process of the API knows them."""

import asyncio
from concurrent.futures import Executor
from functools import partial
from time import monotonic

from api.security.keys import Key, digest_of, find_key
from api.service.connections import looked_up
from domain.application import LedgerApplication

KNOWN_FOR_SECONDS = 1.0
"""For how long a key that was looked up is believed: a revocation or an end takes hold everywhere within this time."""

MAX_KNOWN_KEYS = 10_000


def _has_failed(looked_up: "asyncio.Future[Key | None]") -> bool:
    """Tell whether a look-up found nothing out: the database may be back by now."""
    return looked_up.done() and (looked_up.cancelled() or looked_up.exception() is not None)


class KeyCache:
    """Looks keys up, and remembers for a moment what it found."""

    def __init__(self, ledger: LedgerApplication, reading: Executor) -> None:
        """`reading` is where look-ups block."""
        self._ledger = ledger
        self._reading = reading
        self._known: dict[bytes, tuple[asyncio.Future[Key | None], float]] = {}

    async def find(self, key: str) -> Key | None:
        """Return what is known of a key, None if it is no valid one; raises `JournalUnavailable`.

        One look-up at a time for each key, however many requests wait for it.
        """
        digest = digest_of(key)
        looked_up, until = self._known.get(digest, (None, 0.0))
        if looked_up is None or monotonic() >= until or _has_failed(looked_up):
            if len(self._known) >= MAX_KNOWN_KEYS:
                self._known.clear()
            # Counted from before the look-up, so that a slow one does not make a key believed for longer.
            until = monotonic() + KNOWN_FOR_SECONDS
            looked_up = asyncio.get_running_loop().run_in_executor(self._reading, self._find, digest)
            self._known[digest] = (looked_up, until)
        return looked_up.result() if looked_up.done() else await asyncio.shield(looked_up)

    def forget(self) -> None:
        """Look every key up anew, also those being looked up now: one was revoked or rotated by this process."""
        self._known.clear()

    def _find(self, digest: bytes) -> Key | None:
        return looked_up(self._ledger, partial(find_key, digest=digest))
