"""Standard input that also ends when this process is told to end."""

import io
import os
import sys
from select import select
from typing import Any


class EndableInput(io.RawIOBase):
    """The bytes of standard input. A thread that waits for more gets their end as soon as `end` is called."""

    def __init__(self) -> None:
        super().__init__()
        self._input = sys.stdin.fileno()
        self._ended, self._ending = os.pipe()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Wait for bytes and read them. Return how many, 0 at the end."""
        ready, _, _ = select([self._input, self._ended], [], [])
        return 0 if self._ended in ready else os.readv(self._input, [buffer])

    def end(self) -> None:
        """End it, for good. May be called in a handler of a signal, and more than once."""
        os.write(self._ending, b".")
