"""Room for large bodies in one process: limits how much is held and worked on at once, in all and for each caller.

A body becomes objects of ten to twenty times its size, so a few large ones at once could exhaust the memory. Bodies up
to 64 KiB are not counted: there are never more of them than connections.

No caller may hold more than half of the room, so that one caller never keeps the others out. A body that has found room
waits for its turn in order. Bodies larger than a mebibyte wait in a queue of their own, since each may take seconds.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Hashable

from domain.model.errors import Overloaded

MIB = 1024 * 1024
# Bodies that are being read, wait for their turn, are worked on, or whose answers are being sent.
MAX_BYTES = 32 * MIB
# One batch of the largest size.
MAX_BYTES_OF_ONE = 16 * MIB
LARGEST_OF_SMALL_BYTES = MIB
# How much is worked on at once: one batch of the largest size, or several smaller ones.
LARGE_AT_ONCE_BYTES = 16 * MIB
SMALL_AT_ONCE_BYTES = 4 * MIB
# Of large answers to reads that are not read yet, of all callers and of one.
MAX_ANSWER_BYTES = 128 * MIB
MAX_ANSWER_BYTES_OF_ONE = 64 * MIB


class BodyRoom:
    """The room of one process. It belongs to one event loop."""

    def __init__(self) -> None:
        self._bytes = 0
        self._bytes_of: Counter[Hashable] = Counter()
        self._large = _Turns(LARGE_AT_ONCE_BYTES)
        self._small = _Turns(SMALL_AT_ONCE_BYTES)

    def take(self, caller: Hashable, size: int) -> None:
        """Take room for a caller; raise `Overloaded` if there is too little."""
        if self._bytes_of[caller] + size > MAX_BYTES_OF_ONE:
            raise Overloaded(
                "Too many large bodies of this caller are in work at once. Send them one after the other."
            )
        if self._bytes + size > MAX_BYTES:
            raise Overloaded("Too many large bodies are in work at once. Try again shortly.")
        self._bytes += size
        self._bytes_of[caller] += size

    def give_back(self, caller: Hashable, size: int) -> None:
        """Give back room that was taken."""
        self._bytes -= size
        self._bytes_of[caller] -= size
        if not self._bytes_of[caller]:
            del self._bytes_of[caller]

    def turns(self, size: int) -> "_Turns":
        """Return the queue in which a body of this size waits for its turn."""
        return self._small if size <= LARGEST_OF_SMALL_BYTES else self._large


class AnswerRoom(BodyRoom):
    """The room of large answers to reads, from when they are made until the client has taken them.

    An answer waits in memory for as long as its client reads slowly, and there can be as many as connections.
    """

    def take(self, caller: Hashable, size: int) -> None:
        """Take room in the name of a caller; raise `Overloaded` if there is too little."""
        if self._bytes_of[caller] + size > MAX_ANSWER_BYTES_OF_ONE:
            raise Overloaded("Too many large answers to this caller are not read yet. Read them first.")
        if self._bytes + size > MAX_ANSWER_BYTES:
            raise Overloaded("Too many large answers are not read yet. Try again shortly.")
        self._bytes += size
        self._bytes_of[caller] += size


class RoomShare:
    """One request's share of the room. Empty unless the request has a large body."""

    def __init__(self, room: BodyRoom, caller: Hashable) -> None:
        self._room = room
        self._caller = caller
        self._size = 0
        self._working = 0

    def grow(self, size: int) -> None:
        """Take room for a body that has, or will have, `size` bytes; raise `Overloaded` if there is too little."""
        if size > self._size:
            self._room.take(self._caller, size - self._size)
            self._size = size

    async def begin_work(self) -> None:
        """Wait for this body's turn."""
        if self._size:
            await self._room.turns(self._size).take(self._size)
            self._working = self._size

    def end_work(self) -> None:
        """End this body's turn. The objects made from the body have been released."""
        if self._working:
            self._room.turns(self._size).give_back(self._working)
            self._working = 0

    def leave(self) -> None:
        """Give the room back: the answer is sent, or nobody waits for it."""
        self.end_work()
        if self._size:
            self._room.give_back(self._caller, self._size)
            self._size = 0


class _Turns:
    """A queue that lets a limited number of bytes be worked on at once, in order of arrival."""

    def __init__(self, bytes_at_once: int) -> None:
        self._left = bytes_at_once
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Wait until `size` bytes are admitted."""
        if not self._waiting and size <= self._left:
            self._left -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the turn came just as the wait was cancelled
                self._left += size
            self._admit()  # those behind one that was too large for what is left
            raise

    def give_back(self, size: int) -> None:
        """End a turn and admit the next ones that fit."""
        self._left += size
        self._admit()

    def _admit(self) -> None:
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._left):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._left -= size
                turn.set_result(None)
