"""The parts of one API process, and reads from the database that do not block its event loop."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from psycopg import Connection

from api.security.callback_signatures import Signatures
from api.service.body_room import AnswerRoom, BodyRoom
from api.service.checkpoint_watch import CheckpointWatch
from api.service.connections import connected, looked_up
from api.service.figures import FiguresReader
from api.service.key_cache import KeyCache
from api.service.metrics import BookMetrics, Metrics
from api.service.replay_log import ReplayLog
from api.service.replica import Replica
from api.service.request_log import RequestLog
from api.service.writer import Writer
from domain.application import LedgerApplication
from domain.journal.session import confirm
from domain.journal.shown_positions import ShownPositions, read_present_positions
from domain.model.errors import LedgerError
from projections.engine.live_version import Reading, at_head
from projections.outbox.destinations import Policy
from projections.process_managers.due_worker import Worker
from projections.process_managers.payer import Payer
from projections.process_managers.providers.interface import Provider
from projections.process_managers.providers.siblings import Siblings
from projections.running.positions import PositionWaiter, Wait, WaitOutcome, progress

Read = TypeVar("Read")


class Service(NamedTuple):
    """The parts that answer requests about one installation.

    `name` is the installation's in the placement. Keys are home's, whichever installation a request is about. The parts
    of the process are the same for all its installations: metrics, providers, rooms, log, document. `books` are the
    metrics of this one's books. `siblings` are the ledgers that bridges can lead to.
    `document` returns the OpenAPI document. `destinations` says where webhooks may send. `reading` runs blocking reads;
    `streaming` runs the many reads of one long answer. `turns` has as many places as `reading` has threads. If
    `metrics_are_public`, figures of the books are shown to callers without a key. A service that only
    reads has a `replica`; its writer, worker and payer are never started.
    """

    name: str
    ledger: LedgerApplication
    writer: Writer
    replays: ReplayLog
    keys: KeyCache
    waiter: PositionWaiter
    worker: Worker
    payer: Payer
    providers: Mapping[str, Provider]
    siblings: Siblings
    signatures: Signatures
    metrics: Metrics
    books: BookMetrics
    destinations: Policy
    reading: ThreadPoolExecutor
    streaming: ThreadPoolExecutor
    document: Callable[[], bytes]
    metrics_are_public: bool
    room: BodyRoom
    answers: AnswerRoom
    turns: asyncio.Semaphore
    checkpoints: CheckpointWatch
    figures: FiguresReader
    log: RequestLog
    replica: Replica | None = None

    def position(self) -> int:
        """Return the newest position of the journal that this process knows."""
        return max(self.writer.position, self.waiter.head)

    async def wait_for(self, projection: str, position: int, timeout_seconds: float) -> Wait:
        """Wait until a projection has reached a position; return how that ended. Raises `ProjectionNotFound`."""
        began = monotonic()
        waited = await self.waiter.wait_async(projection, position, timeout_seconds)
        # The waiter hears of the head with the positions of projections. What was recorded here is known before.
        wait = waited._replace(head=max(waited.head, self.writer.position))
        if self.replica is not None and not wait.has_arrived:
            wait = await self._looked(projection, position, wait)
        self.books.wait(projection, wait.outcome, monotonic() - began)
        return wait

    async def _looked(self, projection: str, position: int, wait: Wait) -> Wait:
        """Return how a wait ended by what the copy itself says: its positions were looked at some time ago."""
        seen = await self.look_up(partial(progress, name=projection))
        self.waiter.note_head(seen.head)
        return Wait(WaitOutcome.ARRIVED if seen.reflects(position) else wait.outcome, seen, seen.head)

    async def read(self, function: Callable[..., Read], *arguments: Any) -> Read:
        """Call a blocking function in a thread for reads; return its result.

        A read begins only when an earlier one has been made into an answer, as many at once as there are threads.
        Otherwise threads would read large pages faster than these are made into answers, and all would wait in memory.
        """
        async with self.turns:
            return await asyncio.get_running_loop().run_in_executor(self.reading, function, *arguments)

    async def query(self, function: Callable[[Connection[Any]], Read]) -> Read:
        """Call a function with a connection; return its result once all that it has seen is replicated.

        Raises `JournalUnavailable` if there is no connection.
        """
        return await self.read(self._query, function)

    async def look_up(self, function: Callable[[Connection[Any]], Read]) -> Read:
        """Return the result of a pure read, as `query` does. If its connection is lost, it runs once more."""
        return await self.read(looked_up, self.ledger, function)

    async def look_up_at_head(self, function: Callable[[Connection[Any]], Read]) -> Reading[Read]:
        """Return the same, and the newest position of the journal just before: that much it reflects at least."""
        return await self.look_up(partial(at_head, read=function))

    async def shown_positions(self, ledger: str) -> ShownPositions | None:
        """Return where the positions of a ledger are shown, None if as they are.

        They are looked up while they are not final. Raises `JournalUnavailable`.
        """
        positions, _ = await self.present_positions(ledger)
        return positions

    async def present_positions(self, ledger: str) -> tuple[ShownPositions | None, LedgerError | None]:
        """Return the same, and the refusal of what is asked of the ledger if it is known not to be here."""
        if not self.may_have_moved(ledger):
            return None, None
        known, refusal = self.waiter.moved.known(ledger), None
        if known is None:
            known, refusal = await self.look_up(partial(read_present_positions, ledger=ledger))
        return known or None, refusal

    def may_have_moved(self, ledger: str) -> bool:
        """Tell whether the positions of a ledger may be shown otherwise than they are.

        They may before this process has looked which ledgers have moved, and in a copy always: one that was behind
        shows a whole move at once.
        """
        moved = self.waiter.moved
        return self.replica is not None or ledger in moved or not moved.are_seen

    async def query_for_stream(self, function: Callable[[Connection[Any]], Read]) -> Read:
        """Return the result of one read of a long answer. Only a few of these run at once, however many requests
        ask."""
        return await asyncio.get_running_loop().run_in_executor(
            self.streaming, looked_up, self.ledger, function
        )

    def _query(self, function: Callable[[Connection[Any]], Read]) -> Read:
        with connected(self.ledger) as connection:
            found = function(connection)
            # A change that was made before is answered as well, without a commit of its own.
            confirm(connection)
            return found
