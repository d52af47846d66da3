"""What the API processes of one service say to each other: commands to one, their results back.

Messages are pickled: 3 µs to write and 2 µs to read a transfer, and every command, outcome and refusal arrives as it
was. A pickle can do anything to who reads it. So both ends are processes that one supervisor started from one release,
and they speak through a pair of sockets that has no name (`door.py`): nobody else can open it.
"""

from collections.abc import Iterable, Sequence
from pickle import HIGHEST_PROTOCOL, dumps, loads
from typing import Any, NamedTuple

from domain.commit.decider import Result
from domain.model.commands import Command, Outcome
from domain.model.errors import LedgerError

_LENGTH_BYTES = 8


class CommandFailed(Exception):
    """A command met a fault of the service. The log of the process that commits has it whole."""


class Asked(NamedTuple):
    """Commands that are passed on together; see `GroupCommit.submit`. `number` is told again with their results.

    `asked_at_seconds` is by the monotonic clock, which is the same in all processes of a machine.
    """

    number: int
    installation: str
    commands: Sequence[Command]
    all_or_none: bool
    dry_run: bool
    asked_at_seconds: float


class Answered(NamedTuple):
    """The results of commands that were passed on, None if they were not taken: the process is stopping, or hung.

    `position` is the newest position that the process knew to be committed then.
    """

    number: int
    results: Sequence[Result] | None
    position: int


def encode(message: Sequence[Asked | Answered]) -> bytes:
    """Return a message with its length before it."""
    body = dumps(message, HIGHEST_PROTOCOL)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


BEAT = encode(())
"""A message that says only that its sender runs. It asks for the same in return."""


def tellable(results: Iterable[Result]) -> list[Result]:
    """Return results without exceptions that might not survive being passed on."""
    return [
        result if isinstance(result, Outcome | LedgerError) else CommandFailed(repr(result))
        for result in results
    ]


class Incoming:
    """Cuts the bytes that arrive into messages."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def messages(self, data: bytes) -> list[Any]:
        """Return the messages that are complete with these bytes, in order."""
        waiting, found, begin = self._waiting, [], 0
        waiting += data
        while (body := begin + _LENGTH_BYTES) <= len(waiting):
            end = body + int.from_bytes(waiting[begin:body], "big")
            if end > len(waiting):
                break
            with memoryview(waiting) as view, view[body:end] as part:
                found.append(loads(part))
            begin = end
        del waiting[:begin]
        return found
