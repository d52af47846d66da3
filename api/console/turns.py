"""Turns: how many pages of one key are made at once, so that no key takes the service from the others."""

import asyncio
from uuid import UUID
from weakref import WeakValueDictionary

from api.security.keys import Key

PAGES_AT_ONCE = 2
"""How many pages of one key are made at once. A page asks the API several times, so it costs as much as several calls.
The others wait for their turn, however many browsers are open."""


class Turns:
    """The turns of all keys. Live pages that wait for something new have none yet."""

    def __init__(self) -> None:
        self._of: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, caller: Key) -> asyncio.Semaphore:
        """Return what a page of this key is made under."""
        return self._of.setdefault(caller.id, asyncio.Semaphore(PAGES_AT_ONCE))
