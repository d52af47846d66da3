"""The publisher of webhooks: makes the attempts that are due, many at once, and records each before and after.

Any number may run. One holds the place; the others stand by until its connection is gone. It runs in a process of its
own beside the projector, because making requests takes processor time from everything in the same interpreter. Neither
answers nor projections may wait for a receiver.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.tracing import Tracer
from projections.engine.leadership import Loop
from projections.outbox.messages import MEDIA_TYPE, message_of
from projections.outbox.publishing import Publishing
from projections.outbox.queue import MAX_UNDER_WAY, DueDelivery, Ended, hand_over, take_over, take_turn
from projections.outbox.schedule import AttemptAnswer, Schedule
from projections.outbox.sending import Sender
from projections.outbox.signatures import signature_headers
from projections.outbox.spans import post_traced
from projections.read_models.outbox import PROJECTION, outbox_channel

POLL_SECONDS = 0.2
# Attempts that end at about the same time are recorded together.
LINGER_SECONDS = 0.003
# How long a stopping publisher waits for answers. The next publisher repeats the attempts that are unfinished then.
GRACE_SECONDS = 2.0

Found = TypeVar("Found")
_log = structlog.get_logger(__name__)


def run_publisher(
    database: Database, stop: threading.Event, publishing: Publishing, tracer: Tracer | None = None
) -> None:
    """Deliver until `stop` is set. A failure of the database only interrupts it.

    `tracer` is told of the attempts for events of sampled traces.
    """

    def serve(connection: Connection[Any]) -> None:
        connection.execute(SQL("LISTEN {}").format(Identifier(outbox_channel(database))))
        asyncio.run(Rounds(connection, stop, publishing, tracer).run())

    Loop(database, "publisher", ("publish", PROJECTION.name)).run(stop, serve)


class Rounds:
    """A loop whose rounds record the attempts that have ended, begin those that are due, and wait for either."""

    def __init__(
        self,
        connection: Connection[Any],
        stop: threading.Event,
        publishing: Publishing,
        tracer: Tracer | None = None,
    ) -> None:
        """The connection holds the place. Nobody else may use it meanwhile."""
        self._connection = connection
        self._stop = stop
        self._publishing = publishing
        self._tracer = tracer
        self._schedule = Schedule(publishing.first_wait_seconds)
        self._chance = random.Random()
        self._thread = ThreadPoolExecutor(1, "outbox")
        self._awake = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], UUID] = {}
        self._ended: list[Ended] = []

    async def run(self) -> None:
        """Deliver until stopped. If the connection is lost, cancel the running attempts and raise `psycopg.Error`."""
        publishing = self._publishing
        try:
            async with Sender(publishing.policy, publishing.timeout_seconds, MAX_UNDER_WAY) as sender:
                await self._on_connection(partial(take_over, self._connection))
                try:
                    while not self._stop.is_set():
                        await self._round(sender)
                    await self._finish()
                finally:
                    await self._call_off()
        finally:
            self._thread.shutdown()

    async def _round(self, sender: Sender) -> None:
        self._awake.clear()
        ended, self._ended = self._ended, []
        busy = Counter(self._under_way.values())
        seconds = self._publishing.disable_after_seconds
        for due in await self._on_connection(partial(take_turn, self._connection, ended, busy, seconds)):
            task = asyncio.create_task(self._attempt(sender, due))
            self._under_way[task] = due.webhook_id
            task.add_done_callback(self._under_way.pop)
        if not self._ended:
            await self._sleep()
        await asyncio.sleep(LINGER_SECONDS)

    async def _sleep(self) -> None:
        """Wait until an attempt has ended or deliveries are announced, at most `POLL_SECONDS`."""
        loop = asyncio.get_running_loop()
        # While no query runs on the connection, whatever arrives is a notification, or the connection's end.
        loop.add_reader(self._connection.fileno(), self._awake.set)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._awake.wait()
        finally:
            loop.remove_reader(self._connection.fileno())
        for _ in self._connection.notifies(timeout=0):
            pass

    async def _attempt(self, sender: Sender, due: DueDelivery) -> None:
        try:
            answer = await self._post(sender, due)
        except Exception as error:  # noqa: BLE001 - every attempt must have an end
            _log.exception("attempt failed", webhook_id=str(due.webhook_id), position=due.position)
            answer = AttemptAnswer(None, repr(error), is_in_doubt=True)
        wait_seconds = None
        if not answer.is_acknowledged:
            wait_seconds = self._schedule.wait_seconds(due.failures + 1, answer, self._chance)
        self._ended.append(Ended(due, answer, wait_seconds))
        self._awake.set()

    async def _post(self, sender: Sender, due: DueDelivery) -> AttemptAnswer:
        try:
            message = message_of(due.event, self._publishing.public_url)
        except ValueError as error:
            return AttemptAnswer(None, f"no message can be made of the event: {error}")
        headers = {"Content-Type": MEDIA_TYPE, "User-Agent": "Tallystick", **message.headers}
        headers |= signature_headers(due.secrets, message.id, datetime.now(UTC), message.body)
        if self._tracer is not None:
            return await post_traced(self._tracer, sender.post, due, message, headers)
        return await sender.post(due.url, headers, message.body)

    async def _finish(self) -> None:
        """Wait a moment for attempts under way, then record those that ended. The next publisher gets the rest."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=GRACE_SECONDS)
        await self._call_off()
        seconds = self._publishing.disable_after_seconds
        await self._on_connection(partial(hand_over, self._connection, self._ended, seconds))

    async def _call_off(self) -> None:
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _on_connection(self, function: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)
