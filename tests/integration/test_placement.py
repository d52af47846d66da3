"""One service over several installations: each request goes to the installation of its ledger."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from domain.journal.database import Database
from tests.placements import Placement, beside, placement_on, prepared

pytestmark = pytest.mark.integration


@pytest.fixture
def placement(database: Database) -> Iterator[Placement]:
    """Two installations, east and west, on one database."""
    installations = beside(database, "east", "west")
    prepared(installations)
    with placement_on(installations) as running:
        yield running


@pytest.fixture
def client(placement: Placement) -> Iterator[httpx2.Client]:
    with placement.client() as client:
        yield client


def open_book(client: httpx2.Client, ledger: str, **where: str) -> httpx2.Response:
    """Open a ledger with two accounts, `a` and `b`, that may go below zero. The answer is that of the ledger."""
    opened = client.post("/v1/ledgers", json={"name": ledger, **where})
    assert opened.status_code == 201, opened.text
    for address in ("a", "b"):
        account = {"address": address, "asset": "USD/2", "normal_side": "credit", "min_balance": None}
        answer = client.post(f"/v1/ledgers/{ledger}/accounts", json=account)
        assert answer.status_code == 201, answer.text
    return opened


def transfer(client: httpx2.Client, ledger: str, amount: int, key: str) -> httpx2.Response:
    entries = [
        {"account": "a", "direction": "debit", "amount": amount},
        {"account": "b", "direction": "credit", "amount": amount},
    ]
    path = f"/v1/ledgers/{ledger}/transactions"
    return client.post(path, json={"entries": entries}, headers={"Idempotency-Key": key})


def ledgers_in(database: Database) -> set[str]:
    """The ledgers that an installation's journal has events of."""
    with database.connect("test") as connection:
        found = connection.execute("SELECT DISTINCT split_part(originator_id, '/', 1) FROM stored_events")
        return {name for (name,) in found} & {"books", "payroll"}


def test_each_ledger_is_in_its_own_installation(placement: Placement, client: httpx2.Client) -> None:
    at_home, in_west = open_book(client, "books"), open_book(client, "payroll", installation="west")
    assert at_home.json()["installation"] == at_home.headers["Ledger-Installation"] == "east"
    assert in_west.json()["installation"] == in_west.headers["Ledger-Installation"] == "west"
    for ledger, installation in (("books", "east"), ("payroll", "west")):
        posted = transfer(client, ledger, 500, "one")
        assert (posted.status_code, posted.headers["Ledger-Installation"]) == (201, installation)
        read = client.get(f"/v1/ledgers/{ledger}/accounts/b")
        shown: dict[str, Any] = client.get(f"/v1/ledgers/{ledger}").json()
        assert shown["installation"] == installation
        assert read.headers.get("Ledger-Installation") == installation
        assert ledgers_in(placement.database(installation)) == {ledger}
