"""The journal in a NATS stream: a publisher that fills it, and the messages in it."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import nats
from nats.js import JetStreamContext
from psycopg import Connection

from domain.application import LedgerApplication
from domain.journal.database import Database
from projections.outbox.jetstream import run_jetstream
from projections.outbox.publishing import Streaming
from projections.running.positions import Progress, progress
from tests.ledgers import history, outcomes, transfer
from tests.nats_server import NatsServer
from tests.projecting import PATIENCE_SECONDS, eventually


class Told(NamedTuple):
    """A message of the stream."""

    subject: str
    sequence: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def position(self) -> int:
        return int(self.headers["Nats-Msg-Id"].rpartition("/")[2])


@contextmanager
def publishing(
    database: Database, broker: NatsServer, stream: str = "TALLYSTICK", subject: str = "tallystick"
) -> Iterator[None]:
    """A publisher that runs meanwhile, as a process of the service would run it."""
    stop = threading.Event()
    streaming = Streaming(broker.url, stream, subject)
    thread = threading.Thread(target=run_jetstream, args=(database, stop, streaming))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def move(ledger: LedgerApplication, count: int = 1) -> int:
    """Move money this many times. Return the newest position."""
    results = ledger.execute(*(transfer("a", "b", 1) for _ in range(count))).result()
    return max(outcome.position for outcome in outcomes(results))


def await_position(owner: Connection[Any], position: int) -> Progress:
    def is_there() -> bool:
        rows = owner.execute("SELECT position FROM projection_versions WHERE name = 'nats'").fetchall()
        return rows == [(position,)]

    eventually(is_there)
    return progress(owner, "nats")


def on_broker(broker: NatsServer, ask: Callable[[JetStreamContext], Any]) -> Any:
    """The broker's answer."""

    async def asked() -> Any:
        client = await nats.connect(broker.url)
        try:
            return await ask(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(asked())


def told(broker: NatsServer, first: int = 1, name: str = "TALLYSTICK") -> list[Told]:
    """All messages of a stream, starting at one."""

    async def read(stream: JetStreamContext) -> list[Told]:
        state = (await stream.stream_info(name)).state
        found = []
        for sequence in range(first, state.last_seq + 1):
            message = await stream.get_msg(name, sequence)
            assert message.data is not None and message.headers and message.subject
            found.append(Told(message.subject, sequence, message.headers, json.loads(message.data)))
        return found

    found: list[Told] = on_broker(broker, read)
    return found


def assert_each_once(database: Database, broker: NatsServer) -> None:
    events = history(database)
    messages = told(broker)
    assert [message.position for message in messages] == [event.position for event in events]
    for message, event in zip(messages, events, strict=True):
        assert message.body["data"]["stream"] == event.stream
        assert message.subject == f"tallystick.main.{event.event.TOPIC}"
