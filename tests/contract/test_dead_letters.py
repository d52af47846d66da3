"""Dead letters over HTTP: every answer that lacks a set-aside event says so, and the letter can be retried or
discarded.
"""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from psycopg import Connection

from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.journals import Journal
from tests.contract.serving import Served, serving
from tests.databases import Databases
from tests.poisoning import Poisoned, poisoned
from tests.projecting import append, eventually

NOBODY = "00000000-0000-0000-0000-000000000001"


class Failing:
    """A service in which two projections fail where told to, and a book in it."""

    def __init__(self, served: Served, client: httpx2.Client, **projections: Poisoned) -> None:
        self.served = served
        self.client = client
        self.projections = projections
        self.book = Book(client, f"l{uuid4().hex[:12]}")
        client.post("/v1/ledgers", json={"name": self.book.name})
        opened = [self.book.open(address) for address in ("a", "b", "c")]
        for path in ("accounts", "accounts/a/entries"):
            assert self.read(path, opened[-1]["position"]).status_code == 200

    def transfer(self, debited: str, credited: str, amount: int = 5) -> tuple[str, int]:
        """Move an amount. Return the transaction's id and position."""
        made = self.book.transfer(debited, credited, amount)
        return made.json()["id"], int(made.headers["ledger-position"])

    def read(self, path: str, position: int) -> httpx2.Response:
        """Read a projection at a position."""
        return self.client.get(f"{self.book.path}/{path}", params={"min_position": position})

    def letter(self, projection: str, state: str = "open") -> dict[str, Any]:
        """The one dead letter of a projection, once it exists."""
        filters = {"projection": projection, "state": state}
        eventually(lambda: bool(self.client.get("/v1/dead-letters", params=filters).json()["data"]))
        (letter,) = self.client.get("/v1/dead-letters", params=filters).json()["data"]
        shown: dict[str, Any] = letter
        return shown

    def decide(self, letter: dict[str, Any], verb: str, **body: Any) -> httpx2.Response:
        """Retry or discard a dead letter."""
        return self.client.post(f"/v1/dead-letters/{letter['id']}/{verb}", json=body)


@pytest.fixture(scope="module")
def failing_service(databases: Databases) -> Iterator[tuple[Served, httpx2.Client, dict[str, Poisoned]]]:
    """A separate service of this module, so that its failing projections break no other test."""
    with (
        poisoned("balances") as balances,
        poisoned("entries") as entries,
        serving(databases) as served,
        served.client() as client,
    ):
        yield served, client, {"balances": balances, "entries": entries}


@pytest.fixture
def failing(failing_service: tuple[Served, httpx2.Client, dict[str, Poisoned]]) -> Iterator[Failing]:
    """The service, left without open dead letters at the end."""
    served, client, projections = failing_service
    yield Failing(served, client, **projections)
    for projection in projections.values():
        projection.streams.clear()
        projection.positions.clear()
    for letter in client.get("/v1/dead-letters?state=open").json()["data"]:
        decided = client.post(f"/v1/dead-letters/{letter['id']}/discard", json={"reason": "end of the test"})
        assert decided.status_code == 200


def test_what_is_held_shows_in_every_read_and_a_retry_makes_it_whole(failing: Failing) -> None:
    client, book = failing.client, failing.book
    failing.projections["balances"].streams.add(f"{book.name}/accounts/a")
    _, poison = failing.transfer("a", "b")
    _, position = failing.transfer("b", "c")
    letter = failing.letter("balances")
    assert (letter["stream"], letter["stream_version"]) == (f"{book.name}/accounts/a", 2)
    assert letter["position"] < poison
    assert letter["message"] == f"ValueError: poison at {letter['position']}"
    assert (letter["attempts"], letter["state"], letter["closed"]) == (3, "open", None)
    assert letter["actor"] == "bootstrap"
    assert client.get(f"/v1/dead-letters/{letter['id']}").json() == letter
    stated = f"1; oldest={letter['position']}"
    for path, more in (("accounts", {}), ("balances", {}), ("accounts/b", {"consistency": "eventual"})):
        answer = client.get(f"{book.path}/{path}", params={"min_position": position, **more})
        assert (answer.status_code, answer.headers["ledger-dead-letters"]) == (200, stated)
    for path in ("accounts/a/entries", "trial-balance", "transactions"):
        assert "ledger-dead-letters" not in failing.read(path, position).headers
    listed = {
        shown["address"]: shown["balance"] for shown in failing.read("accounts", position).json()["data"]
    }
    assert listed == {"a": 0, "b": 0, "c": 5}
    # The one held account is not reported as up to date.
    eventual: dict[str, Any] = {"consistency": "eventual", "min_position": position}
    held = book.account("a", params=eventual)
    assert (held.status_code, code_of(held)) == (503, "projection_behind")
    problem = held.json()
    assert (problem["position"], problem["state"]) == (letter["position"] - 1, "running")
    assert problem["dead_letter"] == letter["id"]
    assert int(held.headers["retry-after"]) >= 1
    eventual["min_position"] = letter["position"] - 1
    before = book.account("a", params=eventual)
    assert (before.status_code, before.headers["ledger-dead-letters"]) == (200, stated)
    assert book.account("a").json()["balance"] == -5
    shown = client.get("/v1/projections/balances").json()
    assert (shown["state"], shown["dead_letters"]) == ("running", 1)
    assert shown["oldest_dead_letter"] == letter["position"]
    assert shown["dead_letter_age_seconds"] > 0
    metrics = client.get("/metrics").text
    assert 'tallystick_projection_dead_letters{projection="balances"} 1.0' in metrics
    assert 'tallystick_projection_state{projection="balances",state="running"} 1.0' in metrics
    # It fails again until the projection is mended.
    again = failing.decide(letter, "retry")
    assert (again.status_code, again.json()["state"], again.json()["attempts"]) == (200, "open", 4)
    failing.projections["balances"].streams.clear()
    for _ in range(2):
        retried = failing.decide(letter, "retry", reason="mended").json()
        assert (retried["state"], retried["held_events"]) == ("resolved", 0)
        assert retried["closed"]["by"] == "bootstrap"
        assert retried["closed"]["reason"] == "mended"
    eventual["min_position"] = position
    whole = book.account("a", params=eventual)
    assert whole.json() == book.account("a").json()
    assert "ledger-dead-letters" not in whole.headers
    late = failing.decide(letter, "discard", reason="too late")
    assert (late.status_code, code_of(late)) == (409, "dead_letter_closed")


def test_a_dry_run_of_a_retry_says_what_would_become_of_it_and_changes_nothing(failing: Failing) -> None:
    client, book = failing.client, failing.book
    failing.projections["balances"].streams.add(f"{book.name}/accounts/a")
    failing.transfer("a", "b")
    _, position = failing.transfer("a", "c")
    letter = failing.letter("balances")
    eventually(lambda: client.get("/v1/projections/balances").json()["position"] >= position)
    letter = client.get(f"/v1/dead-letters/{letter['id']}").json()

    def tried() -> dict[str, Any]:
        answer = client.post(f"/v1/dead-letters/{letter['id']}/retry?dry_run=true", json={"reason": "try"})
        assert (answer.status_code, answer.headers["dry-run"]) == (200, "true")
        assert client.get(f"/v1/dead-letters/{letter['id']}").json() == letter
        assert client.get("/v1/dead-letters?state=open").json()["data"] == [letter]
        tried: dict[str, Any] = answer.json()
        return tried

    fails_again = tried()
    assert (fails_again["state"], fails_again["attempts"]) == ("open", letter["attempts"] + 1)
    failing.projections["balances"].streams.clear()
    applied = tried()
    assert (applied["state"], applied["held_events"], applied["closed"]["reason"]) == ("resolved", 0, "try")
    assert applied["closed"]["followed_by"] is None
    # A later event of the stream fails.
    failing.projections["balances"].positions.add(position - 2)
    followed = tried()
    assert (followed["state"], bool(followed["closed"]["followed_by"])) == ("resolved", True)
    missing = client.get(f"/v1/dead-letters/{followed['closed']['followed_by']}")
    assert code_of(missing) == "dead_letter_not_found"
    held = {shown["address"]: shown["balance"] for shown in failing.read("accounts", position).json()["data"]}
    assert held == {"a": 0, "b": 5, "c": 5}


def test_a_statement_knows_by_the_entries_of_an_event_that_it_lacks_them(failing: Failing) -> None:
    client, book = failing.client, failing.book
    posted = str(uuid4())
    id = book.id_of(posted)
    failing.projections["entries"].streams.add(f"{book.name}/transactions/{id}")
    position = int(book.transfer("a", "b", 7, posted).headers["ledger-position"])
    letter = failing.letter("entries")
    assert (letter["position"], letter["type"]) == (position, "transaction.posted")
    for path in ("accounts/a/entries", "accounts/b/balance"):
        held = failing.read(path, position)
        assert (held.status_code, held.json()["dead_letter"]) == (503, letter["id"])
        unasked = client.get(f"{book.path}/{path}")
        assert unasked.headers["ledger-dead-letters"] == f"1; oldest={position}"
    other = failing.read("accounts/c/entries", position)
    assert other.json() == {"data": [], "next_cursor": None}
    totals = failing.read("trial-balance", position)
    assert (totals.json()["data"], totals.headers["ledger-dead-letters"]) == ([], f"1; oldest={position}")
    discarded = failing.decide(letter, "discard", reason="not ours").json()
    assert (discarded["state"], discarded["closed"]["reason"]) == ("discarded", "not ours")
    assert failing.read("accounts/a/entries", position).json()["data"] == []
    gone = failing.decide(letter, "retry")
    assert (gone.status_code, code_of(gone)) == (409, "dead_letter_closed")
    assert failing.decide(letter, "discard", reason="again").json() == discarded
    assert client.get(f"/v1/dead-letters/{letter['id']}").json() == discarded


def test_an_opening_that_is_held_is_not_said_to_be_missing(failing: Failing) -> None:
    book = failing.book
    failing.projections["balances"].streams.add(f"{book.name}/accounts/d")
    book.open("d")
    letter = failing.letter("balances")
    answer = book.account("d", params={"consistency": "eventual"})
    assert (answer.status_code, answer.json()["dead_letter"]) == (503, letter["id"])
    assert book.account("x", params={"consistency": "eventual"}).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/reason"),
        ({"reason": ""}, "/reason"),
        ({"reason": " \n"}, "/reason"),
        ({"reason": None}, "/reason"),
        ({"reason": "x" * 501}, "/reason"),
        ({"reason": "x", "more": 1}, "/more"),
    ],
)
def test_a_discard_needs_a_reason(client: httpx2.Client, body: dict[str, Any], pointer: str) -> None:
    assert pointers_of(client.post(f"/v1/dead-letters/{NOBODY}/discard", json=body)) == [pointer]
    assert pointers_of(client.post(f"/v1/dead-letters/{NOBODY}/discard")) == ["/reason"]


@pytest.mark.parametrize("id", [NOBODY, "x", "%00", "a%2Fb"])
def test_a_letter_that_does_not_exist(client: httpx2.Client, id: str) -> None:
    for answer in (
        client.get(f"/v1/dead-letters/{id}"),
        client.post(f"/v1/dead-letters/{id}/retry"),
        client.post(f"/v1/dead-letters/{id}/discard", json={"reason": "x"}),
    ):
        assert (answer.status_code, code_of(answer)) == (404, "dead_letter_not_found")


def test_letters_are_listed_in_pages(failing: Failing) -> None:
    client = failing.client
    with failing.served.database.connect_as_owner("test owner") as owner:
        for _ in range(3):
            append_poison(owner, failing.book)
    eventually(lambda: client.get("/v1/projections/entries").json()["dead_letters"] == 3)
    filters: dict[str, Any] = {"state": "open", "projection": "entries"}
    everything = client.get("/v1/dead-letters", params=filters).json()["data"]
    assert len(everything) == 3
    assert everything[0]["exception"] == "UnreadableEvent"
    assert (everything[0]["schema_version"], everything[0]["actor"]) == (1, None)
    for order in ("asc", "desc"):
        found: list[Any] = []
        following: dict[str, str] = {}
        while True:
            page = client.get(
                "/v1/dead-letters", params={**filters, "page_size": 2, "order": order, **following}
            ).json()
            found += page["data"]
            if page["next_cursor"] is None:
                break
            following = {"cursor": page["next_cursor"]}
        assert found == (everything if order == "asc" else everything[::-1])
    cursor = client.get("/v1/dead-letters?page_size=1").json()["next_cursor"]
    mismatch = client.get("/v1/dead-letters", params={"state": "discarded", "cursor": cursor})
    assert code_of(mismatch) == "cursor_mismatch"


def append_poison(owner: Connection[Any], book: Book) -> None:
    state = json.dumps({"class_version": 1, "data": {}}).encode()
    append(owner, f"{book.name}/transactions/{uuid4()}", 1, "transaction.posted", state)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("state=shut", "?state"),
        ("projection=a%20b", "?projection"),
        ("page_size=0", "?page_size"),
        ("x=1", "?x"),
    ],
)
def test_filters_that_are_none(client: httpx2.Client, query: str, pointer: str) -> None:
    assert pointers_of(client.get(f"/v1/dead-letters?{query}")) == [pointer]
    assert client.get("/v1/dead-letters?state=&projection=").status_code == 200


def test_a_projection_is_paused_and_resumed(book: Book, keys: Keys, journal: Journal) -> None:
    operator = keys.client("operator", ledgers=["*"])
    path = "/v1/projections/entries"
    try:
        for body in ({"reason": "upgrade"}, None):
            paused = operator.post(f"{path}/pause", json=body)
            assert (paused.status_code, paused.json()["state"]) == (200, "paused")
        # Who paused it first did so: pausing what is paused changes nothing.
        by = operator.get(path).json()["controlled"]
        assert (by["state"], by["by"], by["reason"]) == ("paused", keys.last_name, "upgrade")
        position = book.transfer("a", "b", 1).headers["ledger-position"]
        statement = f"{book.path}/accounts/a/entries?min_position={position}"

        def behind() -> httpx2.Response:
            return book.client.get(statement, headers={"Prefer": "wait=0"})

        eventually(lambda: behind().json()["state"] == "paused")
        assert code_of(behind()) == "projection_behind"
        assert int(behind().headers["retry-after"]) > 1
        verbose = book.client.get("/readyz?verbose")
        states = {shown["name"]: shown["state"] for shown in verbose.json()["projections"]}
        assert (verbose.status_code, states["entries"], states["balances"]) == (200, "paused", "running")
    finally:
        resumed = [operator.post(f"{path}/resume") for _ in range(2)]
    assert [(answer.status_code, answer.json()["state"]) for answer in resumed] == [(200, "running")] * 2
    assert operator.get(path).json()["controlled"]["state"] == "running"
    assert book.client.get(statement, headers={"Prefer": "wait=30"}).status_code == 200


def test_what_is_halted_is_resumed(book: Book, journal: Journal, served: Served) -> None:
    with served.database.connect("test") as connection:
        connection.execute(
            "UPDATE projection_versions SET state = 'halted', last_error = 'x' WHERE name = 'entries'"
        )
    resumed = book.client.post("/v1/projections/entries/resume", json={"reason": "mended"})
    assert (resumed.json()["state"], resumed.json()["last_error"]) == ("running", None)
    position = book.transfer("a", "b", 1).headers["ledger-position"]
    statement = f"{book.path}/accounts/a/entries?min_position={position}"
    assert book.client.get(statement, headers={"Prefer": "wait=30"}).status_code == 200


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_projection_that_does_not_exist_cannot_be_controlled(client: httpx2.Client, verb: str) -> None:
    for name in ("nothing", "%00", "a%2Fb"):
        answer = client.post(f"/v1/projections/{name}/{verb}")
        assert (answer.status_code, code_of(answer)) == (404, "projection_not_found")
    assert pointers_of(client.post(f"/v1/projections/entries/{verb}", json={"reason": 1})) == ["/reason"]
    assert code_of(client.post(f"/v1/projections/entries/{verb}", content=b"{")) == "malformed_json"
