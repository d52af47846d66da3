"""Clients that go away: what only waits or reads for them ends at once, and what moves money is done all the same."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, cast

import pytest
import uvicorn
from psycopg import Connection
from pydantic import SecretStr

from api import app as application
from api.resources import ENDPOINTS
from api.resources.journal import event_routes as events
from api.security.keys import ensure_bootstrap_key
from api.service.checkpoint_watch import CheckpointWatch
from api.settings import Settings
from domain.journal.database import Database
from projections.read_models import event_history
from projections.running.positions import PositionWaiter
from scripts.serving.connection_limits import Connections
from scripts.serving.http_protocol import WholeAnswers
from tests.contract.serving import listening
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import PATIENCE_SECONDS, eventually
from tests.service import KEY, transfer_body

pytestmark = pytest.mark.integration

AT_ONCE = 20
# Far below the 30 seconds for which they would wait.
ENDED_WITHIN_SECONDS = 15.0
MOVED = 4_000

WAITS = {
    "get_account": "/v1/ledgers/main/accounts/a?consistency=eventual&",
    "list_accounts": "/v1/ledgers/main/accounts?",
    "list_entries": "/v1/ledgers/main/accounts/a/entries?",
    "list_transactions": "/v1/ledgers/main/transactions?",
    "get_balance": "/v1/ledgers/main/accounts/a/balance?",
    "list_balances": "/v1/ledgers/main/balances?",
    "get_trial_balance": "/v1/ledgers/main/trial-balance?",
    "list_payouts": "/v1/ledgers/main/payouts?",
    "list_events": "/v1/ledgers/main/events?",
    "list_trail": "/v1/audit/events?",
    "list_ledgers": "/v1/ledgers?",
    "get_checkpoint": "/v1/audit/checkpoint?",
}


class Api(NamedTuple):
    """A server as it is in a process of the service, and what waits in it."""

    port: int
    waiters: list[PositionWaiter]
    watches: list[CheckpointWatch]

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> socket.socket:
        """Send a request, and return the connection, of which nothing was read."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        fields = {"Host": "x", "Authorization": f"Bearer {KEY}", "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        return connection

    def waiting(self) -> int:
        """How many requests wait for a projection, or 1 if any wait for a checkpoint."""
        (waiter,), (watch,) = self.waiters, self.watches
        is_looking = watch._looking is not None and not watch._looking.done()
        return len(waiter._callbacks) + is_looking


def begin(database: Database) -> None:
    """A ledger with two accounts."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")


def fill(database: Database) -> None:
    """A journal that is longer than what fits between a server and a client that does not read."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        for _ in range(MOVED // 1000):
            outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(1000))).result())


@pytest.fixture
def api(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A running server without a projector, so that nothing is ever reached."""
    waiters: list[PositionWaiter] = []
    watches: list[CheckpointWatch] = []

    def kept(kind: Any, made: list[Any]) -> Any:
        def make(*arguments: Any) -> Any:
            made.append(kind(*arguments))
            return made[-1]

        return make

    monkeypatch.setattr(application, "PositionWaiter", kept(PositionWaiter, waiters))
    monkeypatch.setattr(application, "CheckpointWatch", kept(CheckpointWatch, watches))
    key = SecretStr(KEY)
    settings = Settings(database_url=database.url, schema_=database.schema, bootstrap_key=key)
    ensure_bootstrap_key(database, key)
    with listening() as bound, serving(application.create_app(settings), bound):
        yield Api(bound.getsockname()[1], waiters, watches)


@contextmanager
def serving(app: Any, bound: socket.socket) -> Iterator[None]:
    """The HTTP of the service, in a thread."""
    config = uvicorn.Config(
        app,
        http=cast(Any, partial(WholeAnswers, Connections(500))),
        lifespan="on",
        log_level="warning",
        access_log=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        eventually(lambda: server.started)
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def whole(connection: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    received = b""
    while part := connection.recv(1_000_000):
        received += part
    return received


def test_every_route_that_waits_is_tried_here() -> None:
    waits = {
        endpoint.declared.operation_id
        for endpoint in ENDPOINTS
        if "min_position" in endpoint.declared.query.model_fields
    }
    assert waits == WAITS.keys()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("operation", WAITS)
@pytest.mark.prepared(by=begin)
def test_a_wait_ends_with_its_client(api: Api, operation: str, method: str) -> None:
    path = f"{WAITS[operation]}min_position=1000000000"
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            stack.enter_context(api.ask(method, path, Prefer="wait=30"))
        wanted = 1 if operation == "get_checkpoint" else AT_ONCE
        eventually(lambda: api.waiting() == wanted)
        began = monotonic()
    eventually(lambda: api.waiting() == 0)
    assert monotonic() - began < ENDED_WITHIN_SECONDS
    # Who comes next is answered at once.
    with api.ask("GET", "/v1/ledgers/main", Connection="close") as connection:
        assert whole(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.prepared(by=fill)
def test_a_stream_ends_with_its_client(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[int] = []
    read = event_history.list_events

    def counting(*arguments: Any, **options: Any) -> Any:
        pages.append(1)
        return read(*arguments, **options)

    monkeypatch.setattr(event_history, "list_events", counting)
    path, accept = "/v1/ledgers/main/events", "application/x-ndjson"
    with ExitStack() as stack:
        for _ in range(6):
            connection = stack.enter_context(api.ask("GET", path, Accept=accept))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        eventually(lambda: len(pages) >= 6)
        # Whoever does not read holds no thread: another has the whole of it.
        with api.ask("GET", path, Accept=accept, Connection="close") as connection:
            assert whole(connection).count(b'"position":') >= 3 * MOVED
        of_others = len(pages) - (3 * MOVED // events.STREAMED_EVENTS + 1)
        assert of_others < 6 * (3 * MOVED // events.STREAMED_EVENTS)
    seen = len(pages)
    with api.ask("GET", "/v1/ledgers/main", Connection="close") as connection:
        assert whole(connection).startswith(b"HTTP/1.1 200 ")
    # A page of each may have been under way.
    assert len(pages) <= seen + 6


@pytest.mark.prepared(by=fill)
def test_what_moves_money_is_done_though_its_client_left(api: Api, owner: Connection[Any]) -> None:
    path, kept = "/v1/ledgers/main/transactions", {"Content_Type": "application/json"}
    body = json.dumps(transfer_body("a", "b", 1)).encode()
    batch = {"mode": "atomic", "transactions": [{"idempotency_key": "item", **transfer_body("a", "b", 1)}]}
    owner.execute("BEGIN; SELECT FROM head FOR UPDATE")
    with ExitStack() as stack:
        for number in range(5):
            stack.enter_context(api.ask("POST", path, body, Idempotency_Key=f"k{number}", **kept))
        stack.enter_context(api.ask("POST", f"{path}/batch", json.dumps(batch).encode(), **kept))
        # What came before was taken in once this is answered.
        with api.ask("GET", "/v1/ledgers/main", Connection="close") as connection:
            assert whole(connection).startswith(b"HTTP/1.1 200 ")
    owner.execute("ROLLBACK")
    for key in [*(f"k{number}" for number in range(5)), "item"]:
        eventually(partial(is_completed, api, key))
        with api.ask("POST", path, body, Idempotency_Key=key, Connection="close", **kept) as connection:
            again = whole(connection)
        assert again.startswith(b"HTTP/1.1 201 ") and b"idempotent-replayed: true" in again.lower()


def is_completed(api: Api, key: str) -> bool:
    with api.ask("GET", f"/v1/ledgers/main/operations/{key}", Connection="close") as connection:
        return b'"state":"completed"' in whole(connection)
