"""A ledger that the map gives to an installation which does not have it: refused, found by the doctor, brought back."""

from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from domain.journal.migrations import migrate
from domain.placement import mover
from domain.placement.installations import Installation
from domain.placement.ledger_map import take
from domain.placement.mover import Mover
from domain.placement.whereabouts import find
from projections.process_managers.providers.siblings import Siblings
from projections.registry import install
from scripts.doctor import placements
from scripts.doctor.finding import Finding
from scripts.tallystick import application
from tests.databases import Databases
from tests.ledgers import CONTEXT
from tests.placements import Placement, beside, environment_of, placement_on, prepared
from tests.projecting import eventually

pytestmark = pytest.mark.integration

MAIN = "/v1/ledgers/main"


@pytest.fixture
def placed(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sequence[Installation]]:
    """Two installations, of which the first is home."""
    monkeypatch.setattr(mover, "KNOWN_SECONDS", 1.5)
    monkeypatch.setattr(placements, "OPENING_SECONDS", 0.0)
    with databases.installed() as database:
        placed = beside(database, "east", "west")
        prepared(placed)
        for name, value in environment_of(placed).items():
            monkeypatch.setenv(name, value)
        yield placed


def opened(client: httpx2.Client, ledger: str, installation: str) -> None:
    client.post("/v1/ledgers", json={"name": ledger, "installation": installation}).raise_for_status()
    for address in ("a", "b"):
        body = {"address": address, "asset": "USD/2", "normal_side": "credit"}
        client.post(f"/v1/ledgers/{ledger}/accounts", json=body).raise_for_status()


def transaction() -> dict[str, Any]:
    sides = (("a", "debit"), ("b", "credit"))
    return {"entries": [{"account": account, "direction": side, "amount": 1} for account, side in sides]}


def posted(client: httpx2.Client, key: str) -> httpx2.Response:
    return client.post(f"{MAIN}/transactions", json=transaction(), headers={"Idempotency-Key": key})


def restored_to_its_beginning(installation: Installation) -> None:
    """What a restore to a moment before everything leaves."""
    database = installation.database
    with database.connect_as_owner("test restore") as owner:
        owner.execute(f'DROP SCHEMA "{database.schema}" CASCADE')
    migrate(database)
    install(database)


def findings(placed: Sequence[Installation]) -> Sequence[Finding]:
    return placements.examined(placed, 60.0).findings


def every_request(client: httpx2.Client) -> Iterator[httpx2.Response]:
    """A request of each kind for the ledger main, reads first."""
    yield client.get(MAIN)
    for path in (
        "accounts",
        "accounts/a",
        "accounts/a/entries",
        "balances",
        "trial-balance",
        "transactions",
        "payouts",
        "events",
        "operations/first",
        "operations/first/trace",
    ):
        yield client.get(f"{MAIN}/{path}")
    yield client.get(f"{MAIN}/events", headers={"Accept": "application/x-ndjson"})
    yield posted(client, "first")
    yield posted(client, "new")
    for mode in ("atomic", "independent"):
        items = [{"idempotency_key": f"item-{number}", **transaction()} for number in range(2)]
        yield client.post(f"{MAIN}/transactions/batch", json={"mode": mode, "transactions": items})
    body = {"address": "c", "asset": "USD/2", "normal_side": "credit"}
    yield client.post(f"{MAIN}/accounts", json=body)


def place(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(application(["place"]), ["place", *arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize("is_mapped", [True, False], ids=["the map was changed", "the map was not changed"])
def test_a_place_that_was_restored_to_before_a_move_opens_nothing_anew(
    placed: Sequence[Installation], is_mapped: bool
) -> None:
    east, west = placed
    with placement_on(placed) as placement, placement.client() as client:
        opened(client, "main", "east")
        first = posted(client, "first")
        Mover("main", east, west, CONTEXT).run()
        if is_mapped:
            with east.database.connect("test") as home:
                take(home, "west", ["main"])
        assert posted(client, "first").json() == first.json()
    restored_to_its_beginning(west)
    with placement_on(placed) as placement, placement.client() as client:
        refuses_everything(placement, client)
        if is_mapped:
            (finding,) = findings(placed)
            assert (finding.code, finding.examples) == ("ledger_missing", ("main on west",))
            assert finding.commands == ["tallystick place main --on west --yes"]
        code, said = place("main", "--on", "west", "--yes")
        assert code == 0, said
        again = posted(client, "first")
        assert (again.json()["position"], again.headers["Idempotent-Replayed"]) == (
            first.json()["position"],
            "true",
        )
        assert again.json() == first.json()
        assert posted(client, "second").status_code == 201
        assert client.post("/v1/ledgers", json={"name": "main"}).status_code == 200
    assert findings(placed) == []


def refuses_everything(placement: Placement, client: httpx2.Client) -> None:
    """Every request for main is refused, nothing is recorded of it, and all others are answered."""
    for answer in every_request(client):
        problem = answer.json()
        told = answer.status_code, problem.get("code"), problem.get("installation")
        assert told == (503, "ledger_missing", "west"), (answer.request.url, answer.text)
        assert answer.headers["Retry-After"] == "5"
    for wanted in ({}, {"installation": "west"}):
        answer = client.post("/v1/ledgers", json={"name": "main", **wanted})
        assert (answer.status_code, answer.json()["code"]) == (503, "ledger_missing")
    assert find("main", placement.installations) is not None
    with placement.database("west").connect("test reader") as connection:
        row = connection.execute("SELECT count(*) FROM stored_events WHERE topic LIKE 'ledger.%'").fetchone()
    assert row == (0,)
    assert client.get("/v1/ledgers/nowhere").json()["code"] == "ledger_not_found"
    opened(client, "other", "west")
    bridge = {"account": "a", "amount": 1, "provider": "bridge"}
    bridge |= {"destination": {"ledger": "main", "account": "b"}}
    sent = client.post("/v1/ledgers/other/payouts", json=bridge, headers={"Idempotency-Key": "bridge"})
    assert (sent.status_code, sent.json()["code"]) == (503, "ledger_missing")


def test_a_ledger_that_nobody_has_can_be_opened_again(placed: Sequence[Installation]) -> None:
    """Its opening was undone by a restore, or cut off: no other installation has a copy."""
    _, west = placed
    with placement_on(placed) as placement, placement.client() as client:
        opened(client, "main", "west")
    restored_to_its_beginning(west)
    with placement_on(placed) as placement, placement.client() as client:
        assert client.get(MAIN).json()["code"] == "ledger_missing"
        (finding,) = findings(placed)
        assert (finding.code, finding.commands) == ("ledger_missing", [])
        assert client.post("/v1/ledgers", json={"name": "main"}).status_code == 201
        assert findings(placed) == []


def test_bridges_to_a_ledger_that_is_missing_wait_until_it_is_back(
    placed: Sequence[Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    east, west = placed
    with placement_on(placed) as placement, placement.client() as client:
        for ledger in ("main", "other"):
            opened(client, ledger, "east")
        Mover("main", east, west, CONTEXT).run()
        with east.database.connect("test") as home:
            take(home, "west", ["main"])
    restored_to_its_beginning(west)
    with placement_on(placed) as placement, placement.client() as client:
        # A process that has found the ledger before accepts it.
        monkeypatch.setattr(Siblings, "is_known", lambda siblings, ledger: True)
        bridge = {"account": "a", "amount": 1, "provider": "bridge"}
        bridge |= {"destination": {"ledger": "main", "account": "b"}}
        sent = client.post("/v1/ledgers/other/payouts", json=bridge, headers={"Idempotency-Key": "bridge"})
        assert sent.status_code == 202, sent.text
        path = sent.headers["location"]
        eventually(lambda: client.get(path).json()["state"] == "in_doubt")
        assert place("main", "--on", "west", "--yes")[0] == 0
        client.post(f"{path}/reconcile", json={"reason": "it is back"}).raise_for_status()
        eventually(lambda: client.get(path).json()["state"] == "completed")
