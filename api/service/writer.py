"""The way from the event loop to the writer's thread and back: commands go in, outcomes come out."""

import asyncio
from collections.abc import Sequence
from functools import partial

from api.service.metrics import BookMetrics
from api.service.replay_log import WORDS_OF_REPLAYS, ReplayLog
from domain.application import LedgerApplication
from domain.commit.decider import Result, word_of
from domain.commit.queue import MAX_WAITING_COMMANDS
from domain.model.commands import Command, Outcome
from domain.model.errors import BatchRejected, LedgerError, LedgerMoved, Overloaded

Waiting = asyncio.Future[Outcome]
Asked = tuple[Command, Waiting]


class Writer:
    """Performs commands for the requests of one event loop.

    All commands of one turn of the loop are handed over together and come back together: waking the other thread, and
    being woken by it, costs more than deciding a command. A queued command is decided and recorded even if its request
    is gone.
    """

    def __init__(
        self,
        ledger: LedgerApplication,
        loop: asyncio.AbstractEventLoop,
        metrics: BookMetrics,
        replays: ReplayLog,
    ) -> None:
        self._ledger = ledger
        self._loop = loop
        self._metrics = metrics
        self._replays = replays
        self._asked: list[Asked] = []

    @property
    def position(self) -> int:
        """The newest position of the journal that this process's writer knows."""
        return self._ledger.commit.position

    @property
    def waiting_commands(self) -> int:
        """How many commands wait for the next batch."""
        return self._ledger.commit.waiting_commands + len(self._asked)

    def require_room(self) -> None:
        """Raise `Overloaded` if the queue is full, before any work is done on the request."""
        if self.waiting_commands >= MAX_WAITING_COMMANDS or self._ledger.commit.is_full:
            raise Overloaded

    def perform(self, command: Command) -> Waiting:
        """Return the outcome of a command once it is durable, or raise its refusal."""
        waiting: Waiting = self._loop.create_future()
        if not self._asked:
            self._loop.call_soon(self._submit)
        self._asked.append((command, waiting))
        return waiting

    async def try_out(self, command: Command) -> Outcome:
        """Return the outcome that a command would have, or raise its refusal. Nothing is recorded."""
        (result,) = await self.perform_together([command], dry_run=True)
        if isinstance(result, Exception):
            raise result
        return result

    async def perform_together(
        self, commands: Sequence[Command], *, all_or_none: bool = False, dry_run: bool = False
    ) -> Sequence[Result]:
        """Return the results of commands decided in order, once they are durable. See `GroupCommit.submit`.

        Raises `LedgerMoved` if one of them is refused for it: the others are then told so by the new place.
        """
        together: asyncio.Future[Sequence[Result]] = self._loop.create_future()
        self._ledger.commit.submit(
            commands, partial(self._reply_together, together), all_or_none=all_or_none, dry_run=dry_run
        )
        results = await together
        self._note(commands, results, dry_run=dry_run)
        last = (
            results[-1] if results else None
        )  # once a ledger has moved, it stays so for the commands that follow
        if isinstance(last, BatchRejected):
            last = last.cause
        if isinstance(last, LedgerMoved):
            raise last
        return results

    def _note(self, commands: Sequence[Command], results: Sequence[Result], *, dry_run: bool = False) -> None:
        """Count what became of commands. A dry run replays nothing."""
        became: dict[tuple[type[Command], str], int] = {}
        for command, result in zip(commands, results, strict=True):
            word = word_of(result)
            of = type(command), word
            became[of] = became.get(of, 0) + 1
            if word in WORDS_OF_REPLAYS and not dry_run:
                self._replays.note(command, result)
        for (kind, word), count in became.items():
            self._metrics.command(kind.__name__, word, count)

    def _submit(self) -> None:
        asked, self._asked = self._asked, []
        commands = [command for command, _ in asked]
        try:
            self._ledger.commit.submit(commands, partial(self._reply, asked))
        except LedgerError as refusal:
            self._deliver(asked, [refusal] * len(asked))

    def _reply(self, asked: Sequence[Asked], results: Sequence[Result]) -> None:
        # Runs in the writer's thread.
        self._loop.call_soon_threadsafe(self._deliver, asked, results)

    def _reply_together(self, together: asyncio.Future[Sequence[Result]], results: Sequence[Result]) -> None:
        def deliver() -> None:
            if not together.done():  # its request was cancelled
                together.set_result(results)

        self._loop.call_soon_threadsafe(deliver)

    def _deliver(self, asked: Sequence[Asked], results: Sequence[Result]) -> None:
        self._note([command for command, _ in asked], results)
        for (_, waiting), result in zip(asked, results, strict=True):
            if waiting.done():  # its request was cancelled
                continue
            if isinstance(result, Exception):
                waiting.set_exception(result)
            else:
                waiting.set_result(result)
