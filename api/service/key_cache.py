"""The keys of an installation, as one API process knows them."""

import asyncio
from concurrent.futures import Executor
from functools import partial
from time import monotonic

from api.security.keys import Key, digest_of, find_key
from api.service.connections import looked_up
from domain.application import LedgerApplication

KNOWN_FOR_SECONDS = 1.0
"""How long a looked-up key is believed. A revocation or an end takes effect everywhere within this time."""

MAX_KNOWN_KEYS = 10_000


def _has_failed(looked_up: "asyncio.Future[Key | None]") -> bool:
    """Tell whether a look-up failed: the database may be back by now."""
    return looked_up.done() and (looked_up.cancelled() or looked_up.exception() is not None)


class KeyCache:
    """Looks up keys, and remembers the results for a moment."""

    def __init__(self, ledger: LedgerApplication, reading: Executor) -> None:
        """`reading` runs the blocking look-ups."""
        self._ledger = ledger
        self._reading = reading
        self._known: dict[bytes, tuple[asyncio.Future[Key | None], float]] = {}

    async def find(self, key: str) -> Key | None:
        """Return the key with this secret, None if it is not valid; raise `JournalUnavailable`.

        Only one look-up runs at a time for each key, however many requests wait for it.
        """
        digest = digest_of(key)
        looked_up, until = self._known.get(digest, (None, 0.0))
        if looked_up is None or monotonic() >= until or _has_failed(looked_up):
            if len(self._known) >= MAX_KNOWN_KEYS:
                self._known.clear()
            # Counted from before the look-up, so that a slow look-up does not extend the time.
            until = monotonic() + KNOWN_FOR_SECONDS
            looked_up = asyncio.get_running_loop().run_in_executor(self._reading, self._find, digest)
            self._known[digest] = (looked_up, until)
        return looked_up.result() if looked_up.done() else await asyncio.shield(looked_up)

    def forget(self) -> None:
        """Forget all keys, including look-ups under way: this process has revoked or rotated one."""
        self._known.clear()

    def _find(self, digest: bytes) -> Key | None:
        return looked_up(self._ledger, partial(find_key, digest=digest))
