"""An account's page and Truth beside the list never disagree with the API at the positions that they state."""

import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from api.console.formats import figure
from tests.contract.books import Book
from tests.contract.serving import KEY, Served, serving
from tests.databases import Databases
from tests.projecting import eventually

pytestmark = pytest.mark.contract

READS = 60
WRITERS = 2
ASSET = "USD/2"


@pytest.fixture(scope="module")
def served(databases: Databases) -> Iterator[Served]:
    with serving(databases) as served:
        yield served


@pytest.fixture
def book(served: Served) -> Iterator[Book]:
    with served.client() as client:
        if client.post("/v1/ledgers", json={"name": "main"}).status_code == 201:
            Book(client, "main").open("alice")
            Book(client, "main").open("bob")
        yield Book(client, "main")


@pytest.fixture
def console(served: Served) -> Iterator[httpx2.Client]:
    """A browser's side of a session."""
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False, timeout=30.0) as client:
        answer = client.post("/console/sign-in", data={"key": KEY})
        client.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
        yield client


@contextmanager
def load(served: Served) -> Iterator[None]:
    """Requests of every kind about two accounts, as long as the context lasts."""
    over = threading.Event()
    writers = [threading.Thread(target=_write, args=(served, seed, over)) for seed in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        over.set()
        for writer in writers:
            writer.join()


def _write(served: Served, seed: int, over: threading.Event) -> None:
    chance = random.Random(seed)
    with served.client() as client:
        book = Book(client, "main")
        while not over.is_set():
            debited, credited = chance.sample(("alice", "bob"), 2)
            hold = book.hold(debited, credited, chance.randint(1, 99)).json()
            book.transfer(debited, credited, chance.randint(1, 9999))
            chance.choice((book.settle, book.void))(hold["id"])
            limit = {"min_balance": chance.choice((None, -(10**9) - chance.randint(0, 99)))}
            client.patch(f"{book.path}/accounts/alice", json=limit)


def shown(console: httpx2.Client, path: str) -> str:
    answer = console.get(f"/console/ledgers/main/accounts/{path}")
    assert answer.status_code == 200
    return answer.text


def one(pattern: str, text: str) -> tuple[str, ...]:
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None, pattern
    return found.groups()


def account_at(book: Book, position: str) -> dict[str, Any]:
    answer = book.account("alice", params={"at_position": position})
    assert (answer.status_code, answer.headers["ledger-position"]) == (200, position)
    account: dict[str, Any] = answer.json()
    return account


def require_the_page_of(account: dict[str, Any], page: str) -> None:
    """Check that the page of an account shows these figures."""
    for part, name in (("posted", "Posted"), ("pending", "Pending")):
        cells = one(rf'>{name}</th><td class="figure">(.*?)</td><td class="figure">(.*?)</td>', page)
        assert cells == tuple(figure(account[part][side], ASSET) for side in ("debits", "credits"))
    for member, name in (("balance", "Balance"), ("available", "Available")):
        assert one(rf"<dt>{name}</dt><dd><data [^>]*value=\"(.*?)\"", page) == (str(account[member]),)
    limit = one(r"<dt>Minimum balance</dt><dd>(?:no limit|<data [^>]*value=\"(.*?)\")", page)[0]
    assert limit == (None if account["min_balance"] is None else str(account["min_balance"]))


def values_of(page: str, column: int) -> dict[str, str]:
    """Return the amounts of one column of Truth beside the list, by the names of the members."""
    rows = re.findall(r'<tr data-member="(.*?)">(.*?)</tr>', page, re.DOTALL)
    cells = {name: re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)[column] for name, row in rows}
    found = {name: re.search(r'<data [^>]*value="(.*?)"', cell) for name, cell in cells.items()}
    return {name: match[1] for name, match in found.items() if match is not None}


def require_the_column_of(account: dict[str, Any], values: dict[str, str]) -> None:
    amounts = {
        **{f"{part}.{side}": account[part][side] for part in ("posted", "pending") for side in account[part]},
        **{name: account[name] for name in ("balance", "available", "min_balance", "max_balance")},
    }
    assert values == {name: str(amount) for name, amount in amounts.items() if amount is not None}


def test_the_page_of_an_account_is_true_at_its_position(
    served: Served, book: Book, console: httpx2.Client
) -> None:
    positions = set()
    with load(served):
        for _ in range(READS):
            page = shown(console, "alice")
            (position,) = one(r'This page reflects position <data class="position" value="(\d+)">', page)
            require_the_page_of(account_at(book, position), page)
            positions.add(position)
    assert len(positions) > 1, "nothing was written meanwhile"


def test_the_page_of_an_account_in_the_past_is_true(
    served: Served, book: Book, console: httpx2.Client
) -> None:
    asked = {"account": "alice", "type": "account.opened"}
    opened = book.client.get(f"{book.path}/events", params=asked).json()["data"][0]["position"]
    chance = random.Random(1)
    with load(served):
        for _ in range(READS // 3):
            position = chance.randint(opened, int(book.account("alice").headers["ledger-position"]))
            page = shown(console, f"alice?at_position={position}")
            require_the_page_of(account_at(book, str(position)), page)


def test_truth_beside_the_list_is_true_at_both_positions(
    served: Served, book: Book, console: httpx2.Client
) -> None:
    with load(served):
        for _ in range(READS):
            page = shown(console, "alice/truth")
            for column, name in enumerate(("journal", "projection")):
                (position,) = one(rf'id="{name}-position" value="(\d+)"', page)
                require_the_column_of(account_at(book, position), values_of(page, column))


def test_what_the_list_does_not_show_yet_is_the_difference(
    served: Served, book: Book, console: httpx2.Client
) -> None:
    eventually(lambda: "they say the same" in shown(console, "alice/truth"))
    assert book.client.post("/v1/projections/balances/pause", json={}).status_code == 200

    def is_behind() -> bool:
        # The batch that was under way at the pause may still show a first transfer.
        assert book.transfer("bob", "alice", 12345).status_code == 201
        return bool(values_of(shown(console, "alice/truth"), 2))

    try:
        eventually(is_behind)
        page = shown(console, "alice/truth")
        assert values_of(page, 2) == {"posted.credits": "12345", "balance": "12345", "available": "12345"}
        assert "the list does not show the account&#39;s last change yet" in page
    finally:
        assert book.client.post("/v1/projections/balances/resume", json={}).status_code == 200
    eventually(lambda: "they say the same" in shown(console, "alice/truth"))
