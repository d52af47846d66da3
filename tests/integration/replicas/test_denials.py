"""What a copy denies: it may only lack it. So the primary is asked, or the denial says that a copy said so."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from uuid import uuid4

import httpx2
import pytest
from structlog.testing import capture_logs

from api.app import create_app
from api.service.replica import MAX_ASKED, Replica
from tests.contract.books import Book, new_book
from tests.contract.serving import KEY, listening, replica_of, running_server
from tests.faulty_proxy import FaultyProxy, Forgery
from tests.integration.replicas.pairs import Pair, caller, write

pytestmark = pytest.mark.integration

OF_LEDGERS = (
    "accounts",
    "accounts/a/entries",
    "accounts/a/balance",
    "accounts/a?consistency=eventual",
    "balances",
    "events",
    "payouts",
    "transactions",
    "trial-balance",
)


def test_what_the_copy_denies_is_answered_by_the_primary(
    pair: Pair, primary: httpx2.Client, forwarding: httpx2.Client
) -> None:
    with pair.not_replaying():
        book = new_book(primary)
        position = write(primary, book.name)
        for name in OF_LEDGERS:
            path = f"{book.path}/{name}"
            answer = forwarding.get(path)
            assert answer.status_code == 200, (path, answer.text)
        streamed = forwarding.get(f"{book.path}/events", headers={"Accept": "application/x-ndjson"})
        assert len(streamed.text.splitlines()) == 7
        assert forwarding.head(f"{book.path}/accounts").status_code == 200
        note = primary.get(
            "/v1/audit/checkpoint", params={"min_position": position}, headers={"Prefer": "wait=30"}
        )
        assert int(note.headers["Ledger-Position"]) >= position
        proof = forwarding.get("/v1/audit/proofs/inclusion", params={"position": position})
        assert (proof.status_code, proof.json()["position"]) == (200, position)
        hook = {"url": "https://93.184.216.34/", "ledgers": [book.name], "types": ["*"]}
        id = primary.post("/v1/webhooks", json=hook).json()["id"]
        assert forwarding.get(f"/v1/webhooks/{id}").json()["id"] == id
        primary.delete(f"/v1/webhooks/{id}")
        unknown = forwarding.get("/v1/ledgers/nowhere/accounts")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "ledger_not_found")
        assert "position" not in unknown.json()  # the primary said so
        assert int(unknown.headers["Ledger-Position"]) >= position


def test_a_denial_that_nobody_can_confirm_says_that_a_copy_said_so(
    pair: Pair, primary: httpx2.Client, refusing: httpx2.Client
) -> None:
    pair.replayed()
    with pair.not_replaying():
        reached = int(refusing.get("/v1/keys").headers["Ledger-Position"])
        book = new_book(primary)
        position = write(primary, book.name)
        for name in OF_LEDGERS:
            denied = refusing.get(f"{book.path}/{name}")
            assert (denied.status_code, denied.json()["code"]) == (404, "ledger_not_found"), name
            of_a_copy(denied, reached)
        beyond = refusing.get("/v1/audit/proofs/inclusion", params={"position": position})
        assert (beyond.status_code, beyond.json()["errors"][0]["pointer"]) == (422, "?position")
        of_a_copy(beyond, reached)
        beyond = refusing.get("/v1/audit/proofs/consistency", params={"from": 1, "to": position})
        assert (beyond.status_code, beyond.json()["errors"][0]["pointer"]) == (422, "?to")
        of_a_copy(beyond, reached)
        for path in ("webhooks", "dead-letters"):
            of_a_copy(refusing.get(f"/v1/{path}/{uuid4()}"), reached)


def of_a_copy(denied: httpx2.Response, reached: int) -> None:
    """Check that a denial says what the copy that it comes from reflects."""
    assert "A copy says so" in denied.json()["detail"]
    assert denied.json()["position"] == int(denied.headers["Ledger-Position"]) == reached


@contextmanager
def before_nobody(pair: Pair) -> Iterator[httpx2.Client]:
    """A client of a replica whose primary is not there."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with (
            replica_of(pair.served.settings, address, pair.copy, forward=True) as url,
            caller(url) as client,
        ):
            client.event_hooks = {"response": [pair.served.checked]}
            yield client


def test_a_denial_stands_if_the_primary_does_not_answer(pair: Pair) -> None:
    with before_nobody(pair) as client:
        denied = client.get("/v1/ledgers/nowhere/accounts")
        assert (denied.status_code, denied.json()["code"]) == (404, "ledger_not_found")
        of_a_copy(denied, int(denied.headers["Ledger-Position"]))
    host, port = pair.served.url.removeprefix("http://").split(":")
    faulty = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nno\n"
    with (
        FaultyProxy(host, int(port)) as proxy,
        replica_of(pair.served.settings, proxy.url, pair.copy, forward=True) as url,
        caller(url) as client,
    ):
        proxy.plan([Forgery(faulty), Forgery(faulty[:-1])])
        for _ in range(2):
            denied = client.get("/v1/ledgers/nowhere/accounts")
            assert (denied.status_code, "A copy says so" in denied.json()["detail"]) == (404, True)


def test_few_ask_the_primary_for_what_does_not_exist_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.service.replica.ASK_SECONDS", 0.01)

    async def ask() -> None:
        replica = Replica("http://primary", forwards=True)
        async with AsyncExitStack() as stack:
            for _ in range(MAX_ASKED):
                await stack.enter_async_context(replica.asking())
            with pytest.raises(TimeoutError):
                await stack.enter_async_context(replica.asking())
        async with replica.asking():
            pass
        await replica.close()

    asyncio.run(ask())


def test_a_replica_whose_primary_is_itself_says_so_and_logs_it_once(pair: Pair, book: Book) -> None:
    pair.replayed()
    with ExitStack() as stack:
        bound = stack.enter_context(listening())
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        settings = pair.served.settings.model_copy(
            update={
                "database_url": pair.copy.url,
                "read_only": True,
                "primary_url": url,
                "forward": True,
            }
        )
        logged = stack.enter_context(capture_logs())
        stack.enter_context(running_server(create_app(settings), bound))
        client = stack.enter_context(caller(url, KEY))
        for _ in range(3):
            refused = client.post("/v1/ledgers", json={"name": "none"})
            assert (refused.status_code, refused.json()["code"]) == (421, "read_only_replica")
            assert "leads back to the replica itself" in refused.json()["detail"]
            assert "Ledger-Primary" not in refused.headers and "primary" not in refused.json()
        assert client.get("/v1/ledgers/nowhere/accounts").status_code == 404
        said = [line for line in logged if line["event"] == f"primary {url} out of reach"]
        assert [line["error"] for line in said] == ["a service that only reads answers there"]
