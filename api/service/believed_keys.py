"""Keys that are believed for a while although home is out of reach, so that the other installations go on."""

import asyncio
from collections.abc import Awaitable
from concurrent.futures import Executor
from functools import partial
from time import monotonic

from api.security.keys import Key
from api.service.key_cache import MAX_KNOWN_KEYS, Find, KeyCache, LookUp
from domain.application import LedgerApplication, system_clock
from domain.model.errors import JournalUnavailable

BELIEVED_SECONDS = 60.0
"""How long a key that home has confirmed is believed while home does not answer.

A revocation cannot be recorded while home is away, but one that another process recorded may not be heard of here.
"""

PATIENCE_SECONDS = 0.25
"""How long a request whose key is believed waits for home, since the look-up began."""


class BelievedKeys(KeyCache):
    """The keys of a placement. Without an answer of home, a key counts as home last said, for `BELIEVED_SECONDS`.

    A key that home refuses, a revocation by this process and the end of a key take effect as without a placement.
    """

    def __init__(self, ledger: LedgerApplication, reading: Executor) -> None:
        super().__init__(ledger, reading)
        self._confirmed: dict[LookUp, tuple[Key, float]] = {}
        self._asked: dict[LookUp, tuple[asyncio.Future[Key | None], float]] = {}

    @property
    def are_believed(self) -> bool:
        """Whether a key may be believed now although home does not answer."""
        return any(self._confirmation(wanted) is not None for wanted in self._confirmed)

    def forget(self) -> None:
        """Forget all keys, including look-ups under way: this process has revoked or rotated one."""
        super().forget()
        self._confirmed.clear()
        self._asked.clear()

    def _found(self, find: Find, digest: bytes) -> Awaitable[Key | None]:
        wanted = find, digest
        looked_up = self._look_up(wanted)
        if looked_up.done() and not looked_up.cancelled() and looked_up.exception() is None:
            return looked_up
        return self._believed(wanted, looked_up)

    def _look_up(self, wanted: LookUp) -> "asyncio.Future[Key | None]":
        asked, began = self._asked.get(wanted, (None, 0.0))
        if asked is not None and not asked.done() and self._confirmation(wanted) is not None:
            return asked  # more look-ups would only wait for home in more threads
        looked_up = super()._look_up(wanted)
        if looked_up is not asked:
            if len(self._asked) >= MAX_KNOWN_KEYS:
                self._asked.clear()
            began = monotonic()
            self._asked[wanted] = looked_up, began
            looked_up.add_done_callback(partial(self._note, wanted, began))
        return looked_up

    def _note(self, wanted: LookUp, began: float, looked_up: "asyncio.Future[Key | None]") -> None:
        """Remember what home said, unless all was forgotten since it was asked."""
        asked, _ = self._asked.get(wanted, (None, 0.0))
        # Its exception is looked at even if nobody waits for it any more, or asyncio would log it as never retrieved.
        if looked_up.cancelled() or looked_up.exception() is not None or asked is not looked_up:
            return
        key = looked_up.result()
        if key is None:
            self._confirmed.pop(wanted, None)
            return
        if len(self._confirmed) >= MAX_KNOWN_KEYS:
            self._confirmed.clear()
        self._confirmed[wanted] = key, began

    def _confirmation(self, wanted: LookUp) -> Key | None:
        """Return the key as home last said, None if that is too long ago or the key has ended since."""
        key, confirmed_at = self._confirmed.get(wanted, (None, 0.0))
        if key is None or monotonic() > confirmed_at + BELIEVED_SECONDS:
            return None
        return None if key.valid_until is not None and key.valid_until <= system_clock() else key

    async def _believed(self, wanted: LookUp, looked_up: "asyncio.Future[Key | None]") -> Key | None:
        """Return what home says, or said if it does not answer; raise `JournalUnavailable` if it never did lately."""
        _, began = self._asked.get(wanted, (None, monotonic()))
        if self._confirmation(wanted) is not None:
            await asyncio.wait((looked_up,), timeout=max(0.0, began + PATIENCE_SECONDS - monotonic()))
            if not looked_up.done() and (key := self._confirmation(wanted)) is not None:
                return key
        try:
            return await asyncio.shield(looked_up)
        except JournalUnavailable:
            if (key := self._confirmation(wanted)) is not None:
                return key
            raise
