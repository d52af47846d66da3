"""The line in which requests wait to travel together. Pure, and safe for several threads."""

from collections import deque
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class WaitingLine(Generic[T]):
    """Requests in the order of their arrival. At most `max_senders` take from it at once."""

    def __init__(self, max_items: int, max_senders: int) -> None:
        if max_senders < 1:
            raise ValueError(f"{max_senders} senders send nothing")
        self._max_items, self._max_senders = max_items, max_senders
        self._waiting: deque[T] = deque()
        self._senders = 0
        self._lock = Lock()

    def join(self, item: T) -> bool:
        """Add a request. Return whether one more sender must be started."""
        with self._lock:
            self._waiting.append(item)
            if self._senders == self._max_senders:
                return False
            self._senders += 1
            return True

    def take(self) -> list[T]:
        """Return what a sender sends next. An empty list ends the sender."""
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(self._max_items, len(self._waiting)))]
            if not taken:
                self._senders -= 1
            return taken

    def stop(self) -> list[T]:
        """End a sender that cannot go on. Return what waits, if no other sender takes it."""
        with self._lock:
            self._senders -= 1
            left = [] if self._senders else list(self._waiting)
            self._waiting = self._waiting if self._senders else deque()
            return left
