"""NATS JetStream: publishes every event of the journal to one stream, in the order of positions, each once.

The stream itself says where to continue: its last message names its event, and each message is published on the
condition that it follows the one before it. So no crash of the publisher or the broker omits or doubles an event,
however long it lasts, and nothing depends on the broker's own window of duplicates. The stream must therefore belong to
this service alone.
"""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import nats
import nats.errors
import psycopg
import structlog
from nats.js import JetStreamContext
from nats.js.api import PubAck
from nats.js.errors import NotFoundError
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.journal.outage import Outage, is_lost
from domain.journal.queries import load
from domain.journal.reader import Row, whole_rows
from domain.journal.session import confirm
from domain.journal.shown_positions import read_shown_positions
from domain.tracing import Tracer
from projections.engine.leadership import RECONNECT_SECONDS, Loop, Pauses, pause
from projections.engine.rate import RATE_SECONDS, Rate
from projections.outbox.messages import MEDIA_TYPE, Message, broker_id, message_of
from projections.outbox.publishing import Streaming
from projections.outbox.spans import traced_window
from projections.registry import NATS

WINDOW_EVENTS = 500
# 500 usual events are 0.4 MB. The broker has 5 s to acknowledge a window, so large events are sent a few at a time.
WINDOW_BYTES = 4 * 1024**2
POLL_SECONDS = 0.25
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 3
ACKNOWLEDGE_TIMEOUT_SECONDS = 5.0

_SQL = load(__name__)
_log = structlog.get_logger(__name__)
_BROKER = Outage("broker")


RESTORED = (
    "it is the stream of another installation, or the database was restored to an earlier point. Then tell the stream's"
    " consumers which positions are void, and purge the stream (scripts/BACKUP.md)"
)


class NotOurs(Exception):
    """The stream does not end with an event of this journal, so nothing can be appended in order."""


class End(NamedTuple):
    """The end of a stream: the position of its last event, and the sequence number of its last message."""

    position: int
    sequence: int


def run_jetstream(
    database: Database, stop: threading.Event, streaming: Streaming, tracer: Tracer | None = None
) -> None:
    """Publish until `stop` is set. Failures of the database or the broker only interrupt it.

    `tracer` is told of the messages for events of sampled traces.
    """
    pauses = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    Loop(
        database,
        f"projection {NATS}",
        ("publish", NATS),
        failed=_say_failed,
        pause_seconds=lambda error: RECONNECT_SECONDS if is_lost(error) else pauses.next_seconds(),
    ).run(stop, lambda connection: _serve(database, connection, stop, streaming, pauses, tracer))


def _say_failed(error: Exception) -> None:
    if isinstance(error, psycopg.Error):
        _log.warning("publisher interrupted", publisher=NATS, error=str(error))
    else:
        _log.error("publisher failed", publisher=NATS, exc_info=error)


def _serve(
    database: Database,
    connection: Connection[Any],
    stop: threading.Event,
    streaming: Streaming,
    pauses: Pauses,
    tracer: Tracer | None,
) -> None:
    _SQL["register"].run(connection)
    connection.execute(SQL("LISTEN {}").format(Identifier(database.journal_channel)))
    while not stop.is_set():
        try:
            asyncio.run(Follower(connection, stop, streaming, pauses, tracer).run())
        except (nats.errors.Error, OSError, TimeoutError, NotOurs) as error:
            reason = f"{type(error).__name__}: {error}"
            _BROKER.lost(NATS, RuntimeError(reason))
            _SQL["record_error"].run(connection, {"reason": reason})
        pause(connection, stop, pauses.next_seconds())


class Follower:
    """Publishes the journal over one connection to the broker."""

    def __init__(
        self,
        connection: Connection[Any],
        stop: threading.Event,
        streaming: Streaming,
        pauses: Pauses,
        tracer: Tracer | None = None,
    ) -> None:
        """The database connection holds the place. Nobody else may use it meanwhile.

        Whenever something is published, `pauses` begin with the first one again.
        """
        self._connection = connection
        self._stop = stop
        self._streaming = streaming
        self._pauses = pauses
        self._tracer = tracer
        self._rate = Rate(RATE_SECONDS)
        self._failure: Exception | None = None
        self._acknowledgements: list[asyncio.Future[PubAck]] = []

    async def run(self) -> None:
        """Publish until stopped. Raises the errors of the broker and of the database, and `NotOurs`."""
        client = await nats.connect(
            self._streaming.url,
            name="tallystick",
            # A new connection must begin by reading the stream's end, so the client must not reconnect by itself.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            error_cb=self._note_failure,
            disconnected_cb=self._note_disconnection,
        )
        try:
            await self._follow(client.jetstream(publish_async_max_pending=WINDOW_EVENTS))
        finally:
            await client.close()

    async def _follow(self, stream: JetStreamContext) -> None:
        end = await self._find_end(stream)
        _BROKER.back(NATS)
        is_well = False
        while not self._stop.is_set() and self._failure is None:
            _, state, head = self._standing()
            if state == "running" and head > end.position:
                end = await self._publish(stream, end, min(head, end.position + WINDOW_EVENTS))
            else:
                if state == "running" and not is_well:
                    _SQL["well"].run(self._connection)
                    is_well = True
                await asyncio.to_thread(self._sleep)
        if self._failure is not None:
            raise self._failure

    def _standing(self) -> tuple[int, str, int]:
        row = _SQL["standing"].only(self._connection, prepare=True)
        position, state, head = row
        return position, state, head

    def _sleep(self) -> None:
        for _ in self._connection.notifies(timeout=POLL_SECONDS, stop_after=1):
            pass

    async def _find_end(self, stream: JetStreamContext) -> End:
        """Return the end of the stream, creating the stream if there is none. Raises `NotOurs`."""
        name, subjects = self._streaming.stream, [f"{self._streaming.subject}.>"]
        try:
            info = await stream.stream_info(name)
        except NotFoundError:
            info = await stream.add_stream(name=name, subjects=subjects)
            _log.info("stream made", stream=name)
        acknowledged, *_ = self._standing()
        sequence = info.state.last_seq
        position = await self._last_position(stream, sequence, acknowledged) if sequence else 0
        if position != acknowledged:
            # It is further if the last publisher died before noting it, and less far if the stream is lost or new.
            _log.warning(
                "publishing continues from the end of the stream", position=position, noted=acknowledged
            )
            self._move(position, 0)
        return End(position, sequence)

    async def _last_position(self, stream: JetStreamContext, sequence: int, acknowledged: int) -> int:
        name = self._streaming.stream
        try:
            message = await stream.get_msg(name, sequence)
        except NotFoundError:
            # Its messages were purged or have expired, and are not to be published again.
            return acknowledged
        id = (message.headers or {}).get("Nats-Msg-Id", "")
        before, _, last = id.rpartition("/")
        if not (before and last.isascii() and last.isdecimal()):
            raise NotOurs(f"the last message of the stream {name} is not from this service")
        # The id has the position at which the event is shown.
        position = read_shown_positions(self._connection, before.partition("/")[0]).own(int(last))
        row = _SQL["event"].row(self._connection, {"position": position})
        if row is None:
            *_, head = self._standing()
            words = f"the stream {name} ends with event {position}, and the journal with event {head}"
            raise NotOurs(f"{words}: {RESTORED}")
        stored, state = row
        # An id that an earlier release made has no digest.
        if "/" in before and id != broker_id(stored, state, int(last)):
            words = f"event {position}, with which the stream {name} ends, is another one in the journal"
            raise NotOurs(f"{words}: {RESTORED}")
        return position

    async def _publish(self, stream: JetStreamContext, end: End, upto: int) -> End:
        """Publish the events after the end of the stream; return the new end."""
        wanted = {"after": end.position, "upto": upto, "most_bytes": WINDOW_BYTES}
        stored = _SQL["window"].rows(self._connection, wanted, prepare=True, binary=True)
        rows = whole_rows(stored, WINDOW_BYTES)
        if sum(len(row[3]) for row in rows) >= WINDOW_BYTES:
            upto = rows[-1][4]
        messages, position, obstacle = self._messages(end.position, upto, rows)
        if messages:
            confirm(self._connection)  # what the broker was told cannot be undone
            with traced_window(self._tracer, self._streaming.subject, messages) as sent:
                await self._send(stream, end, sent)
                await self._await_acknowledgements()
            self._pauses.reset()
        if position > end.position:
            self._move(position, len(messages))
        if obstacle is not None:
            _log.error("publisher halted", publisher=NATS, position=position, reason=obstacle)
            _SQL["halt"].run(self._connection, {"reason": obstacle})
        return End(position, end.sequence + len(messages))

    async def _send(self, stream: JetStreamContext, end: End, messages: Sequence[Message]) -> None:
        """Send messages in order, each on the condition that it follows the one before it."""
        self._acknowledgements, previous = [], None
        for sequence, message in enumerate(messages, start=end.sequence):
            headers = self._headers(message, sequence)
            if previous is not None:
                # The sequence number is not enough: a foreign message in the place of one of ours keeps the numbers
                # right. The first message goes without this: the broker remembers ids only for its duplicate window.
                headers["Nats-Expected-Last-Msg-Id"] = previous
            subject = f"{self._streaming.subject}.{message.ledger}.{message.type}"
            self._acknowledgements.append(await stream.publish_async(subject, message.body, headers=headers))
            previous = message.broker_id

    async def _await_acknowledgements(self) -> None:
        """Return when all acknowledgements have come. Raises the broker's error, or `TimeoutError`."""
        if self._failure is not None:
            raise self._failure
        try:
            async with asyncio.timeout(ACKNOWLEDGE_TIMEOUT_SECONDS):
                for acknowledgement in self._acknowledgements:
                    await acknowledgement
        except TimeoutError:
            raise TimeoutError(f"no acknowledgement within {ACKNOWLEDGE_TIMEOUT_SECONDS:g} s") from None

    async def _note_failure(self, error: Exception) -> None:
        """End the session because of an error. For a refused message, the client would leave the future pending."""
        if self._failure is not None:
            return
        self._failure = error
        for acknowledgement in self._acknowledgements:
            if not acknowledgement.done():
                acknowledgement.set_exception(error)
                return

    async def _note_disconnection(self) -> None:
        await self._note_failure(ConnectionError("the connection to the broker was lost"))

    def _messages(self, after: int, upto: int, rows: Sequence[Row]) -> tuple[list[Message], int, str | None]:
        """Return the messages of a range, up to the first event that has none, and the reason why it has none.

        Also return up to which position they are. Events that were copied here have none: they are published where they
        were recorded.
        """
        messages: list[Message] = []
        wanted = {"after": after, "upto": upto}
        shown: dict[int, int] = dict(_SQL["shown"].rows(self._connection, wanted, prepare=True))
        copies = {position for (position,) in _SQL["copies"].rows(self._connection, wanted, prepare=True)}
        for number, position in enumerate(range(after + 1, upto + 1)):
            if number == len(rows) or rows[number][4] != position:
                return messages, position - 1, f"the journal has a gap: event {position} is missing"
            if position in copies:
                continue
            try:
                row = (*rows[number][:4], shown.get(position, position))
                messages.append(message_of(row, self._streaming.public_url))
            except ValueError as error:
                return messages, position - 1, f"no message can be made of event {position}: {error}"
        return messages, upto, None

    def _headers(self, message: Message, sequence: int) -> dict[str, str]:
        return {
            "Nats-Msg-Id": message.broker_id,
            "Nats-Expected-Stream": self._streaming.stream,
            "Nats-Expected-Last-Sequence": str(sequence),
            "Content-Type": MEDIA_TYPE,
            **message.headers,
        }

    def _move(self, position: int, events: int) -> None:
        rate = self._rate.measure(events)
        _SQL["move"].run(self._connection, {"position": position, "rate": rate}, prepare=True)
