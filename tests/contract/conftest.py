"""The service over HTTP: one real server per worker of a run, with a projector. Each test has its own ledger.

Every answer is checked against the OpenAPI document and against the rules for all answers.
"""

import json
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid4, uuid5

import httpx2
import jsonschema_rs
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI
from psycopg.rows import dict_row
from pydantic import SecretStr

from api.app import create_app
from api.security.keys import ensure_bootstrap_key
from api.settings import Settings
from domain.journal.database import Database
from projections.process_managers.providers.settings import ProviderSettings
from projections.registry import PROJECTIONS
from projections.running.projector import run_projector
from scripts.serving.simulator_beside import listen
from scripts.simulator.callbacks import Callbacks
from scripts.simulator.faults import Faults, Rates
from scripts.simulator.server import Simulator
from tests.databases import Databases
from tests.projecting import eventually, set_state

KEY = "tk_the_key_of_the_tests_of_the_contract"
START_TIMEOUT_SECONDS = 20.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if "tests/contract" in item.path.as_posix():
            item.add_marker(pytest.mark.contract)


SECRET = "whsec_" + b64encode(b"the secret of the tests of the contract").decode()
"""The secret that signs providers' callbacks."""


_OF_EVERY_PROBLEM = {
    *("type", "title", "status", "detail", "instance", "code", "correlation_id"),
    *("transaction_id", "index", "errors"),
}


def named_in(problem: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a problem that name what it concerns."""
    return {name: value for name, value in problem.items() if name not in _OF_EVERY_PROBLEM}


class Served(NamedTuple):
    """A service under test: its database, its address, the check of its answers, and its payment provider."""

    database: Database
    url: str
    checked: "Checked"
    simulator: Simulator

    def client(self, key: str | None = KEY) -> httpx2.Client:
        """A client whose every answer is checked. With `key` None it sends no key."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx2.Client(
            base_url=self.url,
            headers=headers,
            timeout=30.0,
            trust_env=False,
            verify=False,  # it speaks no TLS, and reading the system's certificates takes 20 ms a client
            event_hooks={"response": [self.checked]},
        )


class Checked:
    """Checks answers against the OpenAPI document and the rules for all answers (api/README.md, Conventions)."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._validators: dict[str, jsonschema_rs.Validator] = {}
        # A fixed path comes before one with a name in its place (OpenAPI 3.1 §4.8.8.1).
        self._paths = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", path)), operations)
            for path, operations in sorted(document["paths"].items(), key=lambda item: item[0].count("{"))
        ]

    def __call__(self, answer: httpx2.Response) -> None:
        """Check one answer."""
        answer.read()
        assert 1 <= len(answer.headers["correlation-id"]) <= 128
        assert re.fullmatch(
            r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*", answer.headers["traceparent"]
        )
        # As it was sent: an escaped slash separates nothing.
        path, method = answer.request.url.raw_path.decode().partition("?")[0], answer.request.method
        is_head = method == "HEAD"
        assert not (is_head and answer.content)
        if answer.status_code >= 400 and not is_head:
            self._check_problem(answer)
        operations: dict[str, Any] = next((shown for form, shown in self._paths if form.fullmatch(path)), {})
        operation = operations.get("get" if is_head else method.lower())
        # A caller that was not admitted, or asked for an unknown path, learns nothing about the books.
        is_let_in = bool(operation) and answer.status_code not in (401, 403)
        is_of_the_books = path.startswith("/v1/ledgers") or path == "/v1/audit/events"
        assert ("ledger-position" in answer.headers) == (
            is_let_in and is_of_the_books and not (answer.status_code >= 400 and path == "/v1/audit/events")
        )
        if operation:
            self._check_documented(answer, operation["responses"])
        else:
            assert answer.status_code == (405 if operations else 404)

    def _check_problem(self, answer: httpx2.Response) -> None:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["type"] == f"/problems/{problem['code']}"
        assert problem["instance"] == answer.request.url.raw_path.decode().partition("?")[0]
        assert problem["title"] and problem["detail"]
        if "idempotent-replayed" not in answer.headers:
            assert problem["correlation_id"] == answer.headers["correlation-id"]
        assert ("errors" in problem) == (answer.status_code == 422)
        self._validate(problem, {"$ref": "#/components/schemas/Problem"})

    def _check_documented(self, answer: httpx2.Response, responses: dict[str, Any]) -> None:
        documented = responses[str(answer.status_code)]
        for name in documented.get("headers", ()):
            is_made = name != "Location" or "dry-run" not in answer.headers
            if is_made and name not in ("Idempotent-Replayed", "Ledger-Dead-Letters", "Dry-Run"):
                assert name in answer.headers, f"{name} is documented and missing"
        if answer.request.method == "HEAD":
            return
        if answer.status_code >= 400:
            assert answer.json()["code"] in documented["content"]["application/problem+json"]["examples"]
        elif answer.headers.get("content-type") == "application/json":
            self._check_content(answer, documented["content"]["application/json"])

    def _check_content(self, answer: httpx2.Response, content: dict[str, Any]) -> None:
        if "schema" in content:
            self._validate(answer.json(), content["schema"])

    def _validate(self, instance: Any, schema: dict[str, Any]) -> None:
        written = json.dumps(schema)
        if written not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[written] = jsonschema_rs.validator_for(whole)
        self._validators[written].validate(instance)


@pytest.fixture(scope="session")
def served(databases: Databases) -> Iterator[Served]:
    """The running service that the tests of this folder share."""
    with serving(databases) as running:
        yield running


@contextmanager
def serving(databases: Databases, **settings: Any) -> Iterator[Served]:
    """A running service with a projector, on its own database. `settings` are those that differ from the usual ones."""
    with databases.installed() as database, serving_on(database, **settings) as running:
        yield running


@contextmanager
def serving_on(database: Database, **more: Any) -> Iterator[Served]:
    """A running service with a projector on a database."""
    bound = listening()
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    simulator = Simulator(
        listen(0), Faults(0, Rates()), Callbacks(f"{url}/v1/providers/simulator/callbacks", SECRET)
    )
    simulator.start()
    provider = {"url": simulator.url, "secret": SECRET, "timeout_seconds": 1.0}
    settings = Settings(
        database_url=database.url,
        schema_=database.schema,
        bootstrap_key=SecretStr(KEY),
        providers={"simulator": ProviderSettings.model_validate(provider)},
        **more,
    )
    ensure_bootstrap_key(database, settings.bootstrap_key)
    stop = threading.Event()
    projector = threading.Thread(target=run_projector, args=(database, stop, tuple(PROJECTIONS.values())))
    projector.start()
    app = create_app(settings)
    with bound, running_server(app, bound):
        yield Served(database, url, Checked(app.openapi()), simulator)
    simulator.stop()
    stop.set()
    projector.join()


def listening() -> socket.socket:
    """A socket bound to a free port on loopback."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


@contextmanager
def running_server(app: FastAPI, bound: socket.socket) -> Iterator[str]:
    """A real server in a thread. Yields its address once it answers."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on"))
    serving = threading.Thread(target=server.run, args=([bound],))
    serving.start()
    try:
        _await(lambda: server.started)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        serving.join()


def _await(condition: Callable[[], bool]) -> None:
    give_up_at = monotonic() + START_TIMEOUT_SECONDS
    while not condition():
        assert monotonic() < give_up_at, "the server does not start"
        sleep(0.01)


@pytest.fixture(scope="session")
def session_client(served: Served) -> Iterator[httpx2.Client]:
    """A client with every role on every ledger."""
    with served.client() as client:
        yield client


@pytest.fixture
def client(session_client: httpx2.Client) -> httpx2.Client:
    """A client with every role on every ledger."""
    return session_client


class Book:
    """A ledger of one test, with a method for each request."""

    def __init__(self, client: httpx2.Client, name: str) -> None:
        self.client = client
        self.name = name
        self.path = f"/v1/ledgers/{name}"

    def open(self, address: str, **attributes: Any) -> dict[str, Any]:
        """Open an account and return it."""
        body = {"address": address, "asset": "USD/2", "normal_side": "credit", **attributes}
        answer = self.client.post(f"{self.path}/accounts", json=body)
        assert answer.status_code == 201, answer.text
        account: dict[str, Any] = answer.json()
        return account

    def account(self, address: str, **options: Any) -> httpx2.Response:
        """Read an account."""
        return self.client.get(f"{self.path}/accounts/{address}", **options)

    def post(self, body: Any, key: str | None = None, **headers: str) -> httpx2.Response:
        """Post a transaction, under a new key unless one is given."""
        headers = {"Idempotency-Key": key or uuid4().hex, **headers}
        return self.client.post(f"{self.path}/transactions", json=body, headers=headers)

    def transfer(
        self, debited: str, credited: str, amount: int, key: str | None = None, **more: Any
    ) -> httpx2.Response:
        """Move an amount from one account to another."""
        return self.post({**transfer_body(debited, credited, amount), **more}, key)

    def hold(
        self, debited: str, credited: str, amount: int, key: str | None = None, **more: Any
    ) -> httpx2.Response:
        """Make an amount pending between two accounts."""
        return self.transfer(debited, credited, amount, key, pending=True, **more)

    def act(self, verb: str, id: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        """Settle, void or reverse a transaction, under a new key unless one is given."""
        headers = {"Idempotency-Key": key or uuid4().hex}
        return self.client.post(f"{self.path}/transactions/{id}/{verb}", json=body or {}, headers=headers)

    def settle(self, id: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        """Settle a hold."""
        return self.act("settle", id, body, key)

    def void(self, id: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        """Void a hold."""
        return self.act("void", id, body, key)

    def reverse(self, id: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        """Reverse a transaction."""
        return self.act("reverse", id, body, key)

    def batch(self, *items: Any, mode: str = "independent", **options: Any) -> httpx2.Response:
        """Send requests together."""
        body = {"mode": mode, "transactions": items}
        return self.client.post(f"{self.path}/transactions/batch", json=body, **options)

    def change(self, verb: str, address: str, reason: str = "", **headers: str) -> httpx2.Response:
        """Freeze, unfreeze or close an account."""
        path = f"{self.path}/accounts/{address}/{verb}"
        return self.client.post(path, json={"reason": reason}, headers=headers)

    def pay_out(
        self, amount: int = 40, key: str | None = None, account: str = "alice", **more: Any
    ) -> httpx2.Response:
        """Request a payout, to a new destination unless one is given."""
        body = {"account": account, "amount": amount, "provider": "simulator", **more}
        body.setdefault("destination", {"iban": uuid4().hex})
        headers = {"Idempotency-Key": key or uuid4().hex}
        return self.client.post(f"{self.path}/payouts", json=body, headers=headers)

    def payout(self, id: str) -> dict[str, Any]:
        """Read a payout."""
        shown: dict[str, Any] = self.client.get(f"{self.path}/payouts/{id}").json()
        return shown

    def await_payout(self, id: str, *states: str) -> dict[str, Any]:
        """Wait until a payout is in one of these states, and return it."""
        eventually(lambda: self.payout(id)["state"] in states)
        return self.payout(id)

    def resolve(self, verb: str, id: str, reason: str = "because", **more: Any) -> httpx2.Response:
        """Reconcile, complete or fail a payout."""
        return self.client.post(f"{self.path}/payouts/{id}/{verb}", json={"reason": reason, **more})

    def transaction(self, id: str) -> httpx2.Response:
        """Read a transaction."""
        return self.client.get(f"{self.path}/transactions/{id}")

    def operation(self, key: str) -> httpx2.Response:
        """Read the operation of a key."""
        return self.client.get(f"{self.path}/operations/{key}")

    def id_of(self, key: str) -> str:
        """The transaction id derived from a key (api/README.md, Idempotency)."""
        return str(uuid5(NAMESPACE_URL, f"tallystick:{self.name}/{key}"))

    def amounts(self, address: str) -> tuple[int, int, int, int]:
        """An account's posted debits and credits, then the pending ones."""
        shown = self.account(address).json()
        posted, pending = shown["posted"], shown["pending"]
        return posted["debits"], posted["credits"], pending["debits"], pending["credits"]


def transfer_body(debited: str = "a", credited: str = "b", amount: Any = 10) -> dict[str, Any]:
    """The body of a transaction that moves an amount from one account to another."""
    return {
        "entries": [
            {"account": debited, "direction": "debit", "amount": amount},
            {"account": credited, "direction": "credit", "amount": amount},
        ]
    }


@pytest.fixture
def book(client: httpx2.Client) -> Book:
    """A new ledger with two accounts, `a` and `b`, that may go below zero."""
    name = f"l{uuid4().hex[:12]}"
    assert client.post("/v1/ledgers", json={"name": name}).status_code == 201
    opened = Book(client, name)
    opened.open("a")
    opened.open("b")
    return opened


class Journal:
    """The journal of the service as auditors read it: the public view, in the order of positions."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def head(self) -> int:
        """The newest position."""
        (position,) = self._connection.execute("SELECT position FROM head").fetchone() or (0,)
        return int(position)

    def after(self, position: int) -> list[dict[str, Any]]:
        """The events recorded after a position."""
        cursor = self._connection.cursor(row_factory=dict_row)
        query = "SELECT * FROM journal WHERE position > %s ORDER BY position"
        return cursor.execute(query, [position]).fetchall()

    def pause(self, projection: str) -> None:
        """Pause a projection."""
        set_state(self._connection, projection, "paused")

    def resume(self, projection: str) -> None:
        """Resume a projection."""
        set_state(self._connection, projection, "running")


@pytest.fixture
def journal(served: Served) -> Iterator[Journal]:
    """The journal of the service."""
    with served.database.connect_as_owner("test owner") as connection:
        yield Journal(connection)


@pytest.fixture
def nothing_due(journal: Journal) -> Iterator[Journal]:
    """No work becomes due: acceptances are not carried out and holds not released until `due` is resumed."""
    journal.pause("due")
    yield journal
    journal.resume("due")


@pytest.fixture
def nothing_paid(journal: Journal) -> Iterator[Journal]:
    """No payout becomes due and no provider is called until `payouts` is resumed."""
    journal.pause("payouts")
    yield journal
    journal.resume("payouts")


@pytest.fixture
def simulator(served: Served) -> Simulator:
    """The provider the service knows."""
    return served.simulator


def soon(seconds: float = 3.0) -> str:
    """A time in the near future, but later than the decision on a request that names it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def await_time(time: str) -> None:
    """Wait until a time has passed."""
    eventually(lambda: datetime.now(UTC) > datetime.fromisoformat(time))


class Keys:
    """Makes keys and clients for them."""

    def __init__(self, served: Served, client: httpx2.Client) -> None:
        self._served = served
        self._client = client
        self._opened: list[httpx2.Client] = []
        self.last_name = ""
        """The name of the newest client's key."""

    def make(self, *roles: str, ledgers: list[str]) -> dict[str, Any]:
        """Make a key with a new name and return the answer. Its ledgers need not exist."""
        name = f"{'-'.join(roles)} {uuid4().hex[:12]}"
        to_come = [ledger for ledger in ledgers if ledger != "*"]
        granted = [ledger for ledger in ledgers if ledger == "*"]
        body = {"name": name, "roles": list(roles), "ledgers": granted, "ledgers_to_come": to_come}
        answer = self._client.post("/v1/keys", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def client(self, *roles: str, ledgers: list[str]) -> httpx2.Client:
        """Make a key and return a client that uses it."""
        made = self.make(*roles, ledgers=ledgers)
        self.last_name = made["name"]
        return self.client_with(made["key"])

    def client_with(self, key: str | None) -> httpx2.Client:
        """Return a client that uses a key."""
        self._opened.append(self._served.client(key))
        return self._opened[-1]

    def close(self) -> None:
        """Close the clients."""
        for client in self._opened:
            client.close()


@pytest.fixture
def keys(served: Served, client: httpx2.Client) -> Iterator[Keys]:
    """Makes keys and clients for them."""
    made = Keys(served, client)
    yield made
    made.close()


def code_of(answer: httpx2.Response) -> str:
    """The problem code of an answer."""
    code: str = answer.json()["code"]
    return code


def pointers_of(answer: httpx2.Response) -> list[str]:
    """The pointers to the faults of an invalid request."""
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in answer.json()["errors"]]
