"""Bridges of a running service whose ledgers are in two installations."""

import re
from collections.abc import Iterator
from uuid import uuid4

import httpx2
import pytest

from domain.journal.database import Database
from domain.placement.ledger_map import take
from domain.placement.mover import Mover
from projections.process_managers import provider_health
from scripts.doctor.bridges import between
from tests.integration.severing_proxy import SeveringProxy
from tests.ledgers import CONTEXT
from tests.placements import Placement, beside, placement_on, prepared
from tests.projecting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def placement(database: Database) -> Iterator[Placement]:
    """A ledger in each of two installations, with an account of Alice's that may go below zero."""
    installations = beside(database, "east", "west")
    prepared(installations)
    with placement_on(installations) as running, running.client() as client:
        for name in ("east", "west"):
            opened(client, name)
        yield running


def opened(client: httpx2.Client, name: str) -> None:
    """Open a ledger in an installation, with an account of Alice's that may go below zero."""
    made = client.post("/v1/ledgers", json={"name": f"{name}-book", "installation": name})
    assert made.status_code == 201, made.text
    account = {"address": "alice", "asset": "USD/2", "normal_side": "credit", "min_balance": None}
    assert client.post(f"/v1/ledgers/{name}-book/accounts", json=account).status_code == 201


def send(client: httpx2.Client, sender: str, receiver: str, key: str, amount: int = 40) -> str:
    """Request a bridge, and return the path of its payout."""
    body = {
        "account": "alice",
        "amount": amount,
        "provider": "bridge",
        "destination": {"ledger": receiver, "account": "alice"},
    }
    answer = client.post(f"/v1/ledgers/{sender}/payouts", json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


def balance(client: httpx2.Client, ledger: str, account: str = "alice") -> int:
    found: int = client.get(f"/v1/ledgers/{ledger}/accounts/{account}").json()["balance"]
    return found


def test_it_leads_from_one_installation_to_another_and_back(placement: Placement) -> None:
    with placement.client() as client:
        key = uuid4().hex
        there = send(client, "east-book", "west-book", key)
        eventually(lambda: client.get(there).json()["state"] == "completed")
        back = send(client, "west-book", "east-book", uuid4().hex, 15)
        eventually(lambda: client.get(back).json()["state"] == "completed")
        assert (balance(client, "east-book"), balance(client, "west-book")) == (-25, 25)
        assert balance(client, "east-book", "bridges:west-book:USD") == -25
        assert balance(client, "west-book", "bridges:east-book:USD") == 25
        trace = client.get(f"/v1/ledgers/east-book/operations/{key}/trace").json()
        ledgers = {
            moment["subject"].partition("/")[0]
            for moment in trace["timeline"]
            if moment["kind"] == "event_recorded"
        }
        assert ledgers == {"east-book", "west-book"}


def test_a_ledger_that_is_nowhere_is_refused(placement: Placement) -> None:
    with placement.client() as client:
        destination = {"ledger": "north-book", "account": "alice"}
        body = {"account": "alice", "amount": 1, "provider": "bridge", "destination": destination}
        answer = client.post(
            "/v1/ledgers/west-book/payouts", json=body, headers={"Idempotency-Key": uuid4().hex}
        )
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/destination/ledger"


def test_an_installation_that_is_not_named_is_told_by_its_name(database: Database) -> None:
    installations = beside(database, "east", "west")
    prepared(installations)
    with placement_on(installations[:1]) as alone, alone.client() as client:
        assert client.post("/v1/ledgers", json={"name": "east-book"}).status_code == 201
        with database.connect("test") as home:
            take(home, "west", ["west-book"])
        destination = {"ledger": "west-book", "account": "alice"}
        sent = {"account": "alice", "amount": 1, "provider": "bridge", "destination": destination}
        path, key = "/v1/ledgers/east-book/payouts", {"Idempotency-Key": "later"}
        for answer in (client.get("/v1/ledgers/west-book"), client.post(path, json=sent, headers=key)):
            assert (answer.status_code, answer.json()["reason"]) == (503, "installation_unknown")
            assert "installation west, which this server was not told of" in answer.json()["detail"]


def test_it_leads_to_a_ledger_that_has_moved_without_this_process_knowing(placement: Placement) -> None:
    east, west = placement.installations
    key = uuid4().hex
    with placement.client() as client:
        Mover("west-book", west, east, CONTEXT).run()
        with east.database.connect("test") as home:
            take(home, "east", ["west-book"])
        path = send(client, "east-book", "west-book", key)
        eventually(lambda: client.get(path).json()["state"] == "completed")
        assert balance(client, "west-book") == 40


def test_the_trace_tells_nothing_from_where_the_other_ledger_was(placement: Placement) -> None:
    east, west = placement.installations
    key = uuid4().hex
    with placement.client() as client:
        path = send(client, "east-book", "west-book", key)
        eventually(lambda: client.get(path).json()["state"] == "completed")
        before = client.get(f"/v1/ledgers/east-book/operations/{key}/trace").json()["timeline"]
        Mover("west-book", west, east, CONTEXT).run()
        with east.database.connect("test") as home:
            take(home, "east", ["west-book"])
        # The first trace finds that the ledger is not where it was.
        first, second = (
            client.get(f"/v1/ledgers/east-book/operations/{key}/trace").json()["timeline"] for _ in range(2)
        )
    told = [
        {moment["subject"] for moment in each if "west-book/" in moment["subject"]}
        for each in (before, first, second)
    ]
    assert told[0] == told[2] and told[1] == set()


def test_an_installation_that_is_away_is_told_apart_from_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bridges record one doubt each, end once it is back, and hold up none to another installation."""
    monkeypatch.setattr(provider_health, "SILENT_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(provider_health, "LONGEST_PAUSE_SECONDS", 0.5)
    east, west, north = beside(database, "east", "west", "north")
    with SeveringProxy(database.url) as proxy:
        away = west._replace(database=west.database._replace(url=proxy.database_url))
        prepared([east, west, north])
        with placement_on([east, away, north]) as running, running.client() as client:
            for name in ("east", "west", "north"):
                opened(client, name)
            first = send(client, "east-book", "west-book", uuid4().hex)
            eventually(lambda: client.get(first).json()["state"] == "completed")
            proxy.cut()
            to_west = [send(client, "east-book", "west-book", uuid4().hex) for _ in range(40)]
            to_north = [send(client, "east-book", "north-book", uuid4().hex) for _ in range(10)]
            for path in to_north:
                eventually(lambda path=path: client.get(path).json()["state"] == "completed")  # type: ignore[misc]
            for path in to_west:
                eventually(lambda path=path: client.get(path).json()["state"] == "in_doubt")  # type: ignore[misc]
            calls = client.get("/metrics").text
            proxy.restore()
            for path in to_west:
                eventually(lambda path=path: client.get(path).json()["state"] == "completed")  # type: ignore[misc]
            doubts = [
                sum(step["event"] == "unanswered" for step in client.get(path).json()["history"])
                for path in to_west
            ]
    assert max(doubts) <= 2, "one for the outage, and one if the first call after it is lost"
    unanswered = {
        receiver
        for receiver in ("east", "west", "north")
        if re.search(rf'seconds_count{{[^}}]*outcome="unanswered"[^}}]*receiver="{receiver}"', calls)
    }
    assert unanswered == {"west"}


def test_the_doctor_compares_ledgers_of_two_installations(placement: Placement) -> None:
    databases = [of.database for of in placement.installations]
    with placement.client() as client:
        for ledger, other in (("east-book", "west-book"), ("west-book", "east-book")):
            path = send(client, ledger, other, uuid4().hex)
            eventually(lambda path=path: client.get(path).json()["state"] == "completed")  # type: ignore[misc]
        assert between(databases, 60.0).findings == []
        entries = [
            {"account": "bridges:east-book:USD", "direction": "debit", "amount": 5},
            {"account": "alice", "direction": "credit", "amount": 5},
        ]
        by_hand = client.post(
            "/v1/ledgers/west-book/transactions",
            json={"entries": entries},
            headers={"Idempotency-Key": uuid4().hex},
        )
        assert by_hand.status_code == 201
    eventually(lambda: between(databases, 60.0).findings != [])
    (finding,) = between(databases, 60.0).findings
    assert (finding.code, finding.examples) == ("bridge_unbalanced", ("east-book and west-book: 5 of USD/2",))
    assert [command.rpartition(" ")[2] for command in finding.commands] == ["east-book", "west-book"]
    away = databases[1]._replace(url="postgresql://127.0.0.1:1/none")
    assert between([databases[0], away], 60.0).findings == []
