"""kill -9 of the service's processes while payouts are requested and pursued: provider and ledger agree on each payout.

The provider misbehaves in every way. Every run does a short round. `TALLYSTICK_PAYOUTS=5000 TALLYSTICK_KILLS=30` makes
a long one.
"""

import os
import queue
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import psutil
import pytest

from domain.journal.database import Database
from domain.model.accounts import Account
from domain.model.idempotency import operation_id
from domain.model.payouts.payout import Payout
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.chaos.load import KILLS, an_api_process, the_projector
from tests.ledgers import folded, history
from tests.properties import invariants
from tests.service import Service, post_account, post_ledger, serving, transfer_body
from tests.simulating import free_port, settings_of, simulating

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

PAYOUTS = int(os.environ.get("TALLYSTICK_PAYOUTS", "100"))
PATIENCE_SECONDS = 120 + PAYOUTS
KILLS_WHILE_ASKED = KILLS - KILLS // 2
CLIENTS = 8


def test_the_providers_books_and_the_ledgers_agree_on_each_payout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("TALLYSTICK_PROVIDERS", settings_of(port, timeout_seconds=1.0))
    with (
        serving(tmp_path / "data", "--workers", "2") as service,
        simulating(port, service.url, "--worst", "--seed", "7") as simulator,
        service.client() as client,
    ):
        post_ledger(client)
        post_account(client, "cash", normal_side="debit")
        post_account(client, "users:alice", min_balance=0)
        deposit = transfer_body("cash", "users:alice", 10**9)
        client.post("/v1/ledgers/main/transactions", json=deposit, headers={"Idempotency-Key": "deposit"})
        amounts = _asked_for_under_kills(service)
        payouts = _pursued_under_kills(service, client, amounts)
        lies = [payout for payout in payouts.values() if payout["state"] == "stuck"]
        stuck = client.get("/v1/stuck", params={"page_size": 1000}).json()["data"]
        assert {f"/v1/ledgers/main/payouts/{payout['id']}" for payout in lies} == {
            found["resource"] for found in stuck if found["kind"] == "payout_contradictory"
        }
        for payout in lies:
            reconciled = {"reason": "its statement shows that it was paid after all"}
            path = f"/v1/ledgers/main/payouts/{payout['id']}/complete"
            assert client.post(path, json=reconciled).status_code == 200
        books = httpx2.get(f"{simulator}/books", trust_env=False, timeout=60).json()["data"]
        _agree(client, amounts, books, {payout["id"] for payout in lies})
        _explained(Database(EmbeddedPostgres(tmp_path / "data").url), amounts, books)
        assert service.stop() == 0


def _asked_for_under_kills(service: Service) -> dict[str, int]:
    """Request payouts while processes are killed. Return the amounts by key."""
    chance = random.Random(0)
    amounts = {f"payout-{number}": chance.randint(1, 10_000) for number in range(PAYOUTS)}
    waiting = queue.SimpleQueue[tuple[str, int] | None]()
    for asked in (*amounts.items(), *[None] * CLIENTS):
        waiting.put(asked)
    with ThreadPoolExecutor(CLIENTS) as clients:
        asking = [clients.submit(_ask_all, service, waiting) for _ in range(CLIENTS)]
        for number in range(KILLS_WHILE_ASKED):
            left = PAYOUTS - PAYOUTS * number // (2 * KILLS)
            _wait_for(lambda left=left: waiting.qsize() <= left)
            _wait_for(lambda: _killed(an_api_process(service)))
            sleep(chance.uniform(0.1, 0.7))  # so that one kill hits a call and another a commit
        for of in asking:
            of.result()
    return amounts


def _ask_all(service: Service, waiting: "queue.SimpleQueue[tuple[str, int] | None]") -> None:
    with service.client(5.0) as client:
        while (asked := waiting.get()) is not None:
            _ask(client, *asked)


def _ask(client: httpx2.Client, key: str, amount: int) -> None:
    body = {
        "account": "users:alice",
        "amount": amount,
        "provider": "simulator",
        "destination": {"iban": key},
        "reference": key,
    }
    give_up_at = monotonic() + PATIENCE_SECONDS
    while monotonic() < give_up_at:
        try:
            answer = client.post("/v1/ledgers/main/payouts", json=body, headers={"Idempotency-Key": key})
        except httpx2.TransportError:
            sleep(0.05)
            continue
        if answer.status_code != 503:
            assert answer.status_code == 202, answer.text
            return
    raise AssertionError(f"{key} was never answered")


def _killed(process: psutil.Process | None) -> bool:
    if process is None:
        return False
    process.kill()
    return True


def _wait_for(condition: Any) -> None:
    give_up_at = monotonic() + PATIENCE_SECONDS
    while not condition():
        assert monotonic() < give_up_at, "it never came about"
        sleep(0.02)


def _pursued_under_kills(
    service: Service, client: httpx2.Client, amounts: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """Keep killing until each payout has ended or is stuck and a lying provider had time to lie. Return the payouts by
    key.
    """
    chance = random.Random(1)
    kills = KILLS - KILLS_WHILE_ASKED
    for number in range(kills):
        victim = the_projector if number % 3 == 2 else an_api_process
        _wait_for(lambda victim=victim: _killed(victim(service)))
        sleep(chance.uniform(0.5, 3.0))
    _wait_for(lambda: not _under_way(client))
    sleep(3)
    _wait_for(lambda: not _under_way(client))
    payouts = {payout["idempotency_key"]: payout for payout in _listed(client)}
    assert payouts.keys() == amounts.keys()
    return payouts


def _under_way(client: httpx2.Client) -> bool:
    return any(True for state in ("accepted", "submitted", "in_doubt") for _ in _listed(client, state))


def _listed(client: httpx2.Client, state: str = "") -> Iterator[dict[str, Any]]:
    position = client.get("/v1/ledgers/main").headers["ledger-position"]
    query = {"min_position": position, "state": state, "page_size": "1000"}
    while True:
        page = client.get("/v1/ledgers/main/payouts", params=query).json()
        yield from page["data"]
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


def _agree(
    client: httpx2.Client, amounts: dict[str, int], books: list[dict[str, Any]], lies: set[str]
) -> None:
    """Assert that the provider's books hold each payout once and that both sides ended it alike."""
    assert sorted(line["reference"] for line in books) == sorted(amounts)
    outcomes = {line["reference"]: line for line in books}
    for key, amount in amounts.items():
        id, line = operation_id("main", key), outcomes[key]
        payout = client.get(f"/v1/ledgers/main/payouts/{id}").json()
        assert payout["state"] == line["outcome"], payout
        assert (
            (payout["provider_key"], payout["amount"])
            == (line["key"], line["amount"])
            == (line["key"], amount)
        )
        assert (id in lies) <= line["lied"]
    assert Counter(line["outcome"] for line in books).keys() == {"completed", "failed"}
    assert max(line["submissions"] for line in books) > 1
    assert max(line["inquiries"] for line in books) > 1


def _explained(database: Database, amounts: dict[str, int], books: list[dict[str, Any]]) -> None:
    """Assert that the journal is consistent and that the money that left the account is the money the provider paid."""
    events = history(database)
    states = folded(events)
    invariants.check(events, states)
    payouts = [state for state in states.values() if isinstance(state, Payout)]
    assert len(payouts) == len(amounts)
    paid = sum(line["amount"] for line in books if line["outcome"] == "completed")
    alice, clearing = states["main/accounts/users:alice"], states["main/accounts/providers:simulator:USD"]
    assert isinstance(alice, Account) and isinstance(clearing, Account)
    assert (alice.balance, alice.pending_debits) == (10**9 - paid, 0)
    assert (clearing.balance, clearing.pending_credits) == (-paid, 0)
    kinds = Counter(recorded.event.TOPIC for recorded in events)
    assert kinds["payout.unanswered"] > 0
    assert kinds["payout.reported"] > 0
