"""The parts of one running process of the API, and reading from the database without blocking its event loop."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from psycopg import Connection

from api.security.callback_signatures import Signatures
from api.service.body_room import AnswerRoom, BodyRoom
from api.service.checkpoint_watch import CheckpointWatch
from api.service.connections import connected, looked_up
from api.service.key_cache import KeyCache
from api.service.metrics import Metrics
from api.service.replay_log import ReplayLog
from api.service.writer import Writer
from domain.application import LedgerApplication
from projections.outbox.destinations import Policy
from projections.process_managers.due_worker import Worker
from projections.process_managers.payer import Payer
from projections.process_managers.providers.interface import Provider
from projections.running.positions import PositionWaiter

Read = TypeVar("Read")


class Service(NamedTuple):
    """What answers requests. `document` returns the OpenAPI document.

    `destinations` says where webhooks may go. `reading` is where reads block; `streaming` where those do of which one
    request makes very many; `turns` are as many as `reading` has threads. Where `metrics_are_public`, figures of the
    books are shown to who has no key.
    """

    ledger: LedgerApplication
    writer: Writer
    replays: ReplayLog
    keys: KeyCache
    waiter: PositionWaiter
    worker: Worker
    payer: Payer
    providers: Mapping[str, Provider]
    signatures: Signatures
    metrics: Metrics
    destinations: Policy
    reading: ThreadPoolExecutor
    streaming: ThreadPoolExecutor
    document: Callable[[], bytes]
    metrics_are_public: bool
    room: BodyRoom
    answers: AnswerRoom
    turns: asyncio.Semaphore
    checkpoints: CheckpointWatch

    def position(self) -> int:
        """Return the newest position of the journal that this process knows of."""
        return max(self.writer.position, self.waiter.head)

    async def read(self, function: Callable[..., Read], *arguments: Any) -> Read:
        """Return what a blocking function returns, called in a thread for reads.

        No more of them go on at once than there are threads: whose turn is over has been made into an answer before the
        next begins. Else threads would read large pages faster than these are made into answers, and all would wait in
        memory.
        """
        async with self.turns:
            return await asyncio.get_running_loop().run_in_executor(self.reading, function, *arguments)

    async def query(self, function: Callable[[Connection[Any]], Read]) -> Read:
        """Return what a function finds, given a connection; raise `JournalUnavailable` if there is none."""
        return await self.read(self._query, function)

    async def look_up(self, function: Callable[[Connection[Any]], Read]) -> Read:
        """Return what a pure read finds, as `query` does; once more if its connection was lost meanwhile."""
        return await self.read(looked_up, self.ledger, function)

    async def query_for_stream(self, function: Callable[[Connection[Any]], Read]) -> Read:
        """Return what a function finds for one part of a long answer: few of these go on at once, however many ask."""
        return await asyncio.get_running_loop().run_in_executor(
            self.streaming, looked_up, self.ledger, function
        )

    def _query(self, function: Callable[[Connection[Any]], Read]) -> Read:
        with connected(self.ledger) as connection:
            return function(connection)
