"""The keys of an installation and the sessions that act with them, as one API process knows them."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from time import monotonic

from api.security.keys import Key, digest_of, find_key
from api.security.sessions import find_session
from api.service.connections import looked_up
from domain.application import LedgerApplication

KNOWN_FOR_SECONDS = 1.0
"""How long a looked-up key is believed. A revocation or an end takes effect everywhere within this time."""

MAX_KNOWN_KEYS = 10_000

Find = Callable[..., Key | None]
LookUp = tuple[Find, bytes]
"""What is looked up: by a key's digest or a token's."""


def _has_failed(looked_up: "asyncio.Future[Key | None]") -> bool:
    """Tell whether a look-up failed: the database may be back by now."""
    return looked_up.done() and (looked_up.cancelled() or looked_up.exception() is not None)


class KeyCache:
    """Looks up keys, and remembers the results for a moment."""

    def __init__(self, ledger: LedgerApplication, reading: Executor) -> None:
        """`reading` runs the blocking look-ups."""
        self._ledger = ledger
        self._reading = reading
        self._known: dict[LookUp, tuple[asyncio.Future[Key | None], float]] = {}

    @property
    def are_believed(self) -> bool:
        """Whether a key may be believed now although the database that has the keys does not answer."""
        return False

    def find(self, key: str) -> Awaitable[Key | None]:
        """Return the key with this secret, None if it is not valid; raise `JournalUnavailable`."""
        return self._found(find_key, digest_of(key))

    def find_session(self, token: str) -> Awaitable[Key | None]:
        """Return the key with which a session of the console acts, None if it has ended; raise `JournalUnavailable`."""
        return self._found(find_session, digest_of(token))

    def _found(self, find: Find, digest: bytes) -> Awaitable[Key | None]:
        """Return what a look-up finds. Only one runs at a time for each digest, however many requests wait for it."""
        looked_up = self._look_up((find, digest))
        return looked_up if looked_up.done() else asyncio.shield(looked_up)

    def _look_up(self, wanted: LookUp) -> "asyncio.Future[Key | None]":
        """Return the look-up that answers now: the last one while it is believed, else a new one."""
        looked_up, until = self._known.get(wanted, (None, 0.0))
        if looked_up is None or monotonic() >= until or _has_failed(looked_up):
            if len(self._known) >= MAX_KNOWN_KEYS:
                self._known.clear()
            # Counted from before the look-up, so that a slow look-up does not extend the time.
            until = monotonic() + KNOWN_FOR_SECONDS
            looked_up = asyncio.get_running_loop().run_in_executor(self._reading, self._find, *wanted)
            self._known[wanted] = (looked_up, until)
        return looked_up

    def forget(self) -> None:
        """Forget all keys, including look-ups under way: this process has revoked or rotated one."""
        self._known.clear()

    def _find(self, find: Find, digest: bytes) -> Key | None:
        return looked_up(self._ledger, partial(find, digest=digest))
