"""The process that commits: it takes the commands of the others into its own batches, and sends their results back.

The event loop reads and writes. The results of one commit go back in one write for each process.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from time import monotonic
from typing import cast

import structlog

from api.service.committing.door import converse, opened
from api.service.committing.messages import BEAT, Answered, Asked, Incoming, encode, tellable
from api.service.committing.passing import HUNG_SECONDS
from domain.commit.decider import Result
from domain.commit.interface import Commit
from domain.model.errors import JournalUnavailable, LedgerError

_log = structlog.get_logger(__name__)


class Committer:
    """Opens the door to the other processes, and commits for them."""

    def __init__(self, inside: socket.socket, commits: Mapping[str, Commit]) -> None:
        """`commits` are those of the installations, by name."""
        self._inside = inside
        self._commits = commits
        self._loop = asyncio.get_running_loop()
        self._taking: set[asyncio.Task[object]] = set()
        self._others: set[Other] = set()

    def start(self) -> None:
        """Open the door."""
        self._loop.add_reader(self._inside, self._open)

    def stop(self) -> None:
        """Close the door. Commits have stopped, so all that was taken is answered. The others commit by themselves."""
        self._loop.remove_reader(self._inside)
        for other in list(self._others):
            other.close()

    def _open(self) -> None:
        for end in opened(self._inside):
            other = partial(Other, self._loop, self._commits, self._others)
            task = self._loop.create_task(converse(end, other))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)


class Other(asyncio.Protocol):
    """Another process, and what it is still to be told."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        commits: Mapping[str, Commit],
        others: "set[Other]",
    ) -> None:
        self._loop = loop
        self._commits = commits
        self._others = others
        self._incoming = Incoming()
        self._answers: list[Answered] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say that the door is open."""
        self._others.add(self)
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(BEAT)

    def connection_lost(self, _: Exception | None) -> None:
        """Forget the other process. What it asked for is recorded nevertheless."""
        self._others.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Take commands."""
        for message in self._incoming.messages(data):
            for asked in message:
                self._take(asked)
            if not message and self._transport is not None:
                self._transport.write(BEAT)

    def close(self) -> None:
        """Tell what is to be told, then close the connection."""
        self._tell()
        if self._transport is not None:
            self._transport.close()

    def _take(self, asked: Asked) -> None:
        number, installation, commands, all_or_none, dry_run, asked_at_seconds = asked
        commit = self._commits[installation]
        if monotonic() > asked_at_seconds + HUNG_SECONDS:
            # This process hung. Its callers were answered, and may have asked for something else since.
            self._answer(Answered(number, None, commit.position))
            return
        try:
            commit.submit(
                commands,
                partial(self._reply, number, commit),
                all_or_none=all_or_none,
                dry_run=dry_run,
                asked_at_seconds=asked_at_seconds,
            )
        except JournalUnavailable:
            self._answer(Answered(number, None, commit.position))
        except LedgerError as refusal:
            self._answer(Answered(number, [refusal] * len(commands), commit.position))

    def _reply(self, number: int, commit: Commit, results: Sequence[Result]) -> None:
        # Runs in the writer's thread.
        answered = Answered(number, results, commit.position)
        self._loop.call_soon_threadsafe(self._answer, answered)

    def _answer(self, answered: Answered) -> None:
        if not self._answers:
            self._loop.call_soon(self._tell)
        self._answers.append(answered)

    def _tell(self) -> None:
        answers, self._answers = self._answers, []
        if not answers or self._transport is None:
            return
        told = [
            answer if answer.results is None else answer._replace(results=tellable(answer.results))
            for answer in answers
        ]
        try:
            self._transport.write(encode(told))
        except Exception:  # noqa: BLE001  whatever it is, the other process finds out what became of its commands
            _log.exception("results could not be told")
            self._transport.abort()
