"""What the two clients do differently: pauses, limits, turns, answers that are waited for, work beside the caller."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

from ..errors import Unusable

T = TypeVar("T")

pause = time.sleep


def within(seconds: float) -> AbstractContextManager[None]:
    """Limit nothing: a thread cannot be stopped. Each wait for bytes has its own limit."""
    return nullcontext()


class Home:
    """Where a client was made. Its connections cannot be used by two processes."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def expect(self) -> None:
        """Raise `Unusable` anywhere else."""
        if self._process != os.getpid():
            raise Unusable("this client was made in another process, before a fork: make one in each")


class Turns:
    """Turns to send, as many at once as there are connections."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    def take(self, seconds: float) -> bool:
        """Wait for a turn. Return whether it came in time."""
        return self._free.acquire(timeout=seconds)

    def give_back(self) -> None:
        """Let the next one have a turn."""
        self._free.release()


class Promise(Generic[T]):
    """A value that another thread will give."""

    is_abandoned = False
    """Whether nobody waits for it any more. A thread that waits cannot be cancelled."""

    def __init__(self) -> None:
        self._future: Future[T] = Future()

    def wait(self) -> T:
        """Return the value, or raise the exception given instead."""
        return self._future.result()

    def keep(self, value: T) -> None:
        """Give the value."""
        if not self._future.done():
            self._future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Give an exception instead."""
        if not self._future.done():
            self._future.set_exception(error)


class Job:
    """Work that goes on beside its caller, in a thread of its own."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=work, name="tallystick client")
        self._thread.start()

    @property
    def is_finished(self) -> bool:
        """Whether the work has ended."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait until the work is finished."""
        self._thread.join()
