"""What the two clients do differently: pauses, answers that are waited for, and work beside the caller."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")

pause = time.sleep


class Promise(Generic[T]):
    """A value that another thread will give."""

    def __init__(self) -> None:
        self._future: Future[T] = Future()

    def wait(self) -> T:
        """Return the value, or raise the exception given instead."""
        return self._future.result()

    def keep(self, value: T) -> None:
        """Give the value."""
        if not self._future.done():
            self._future.set_result(value)

    def fail(self, error: BaseException) -> None:
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
