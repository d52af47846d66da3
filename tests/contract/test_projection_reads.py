"""Lists and statements: pages, cursors, filters, and how stale they may be."""

import base64
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from time import monotonic
from typing import Any

import httpx2
import pytest

from api.http import consistency
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.serving import Served
from tests.standbys import is_of_replica


class Shelf(Book):
    """A ledger whose lists are read as of its last write."""

    def read(self, path: str, **parameters: Any) -> httpx2.Response:
        """Read a list of the ledger, at its newest position or later."""
        position = self.client.get(self.path).headers["ledger-position"]
        answer = self.client.get(f"{self.path}{path}", params={"min_position": position, **parameters})
        assert answer.status_code == 200, answer.text
        assert int(position) <= int(answer.headers["ledger-position"]) <= int(answer.headers["ledger-head"])
        return answer

    def pages(self, path: str, **parameters: Any) -> Iterator[list[dict[str, Any]]]:
        """Read a list page by page."""
        cursor: dict[str, str] = {}
        while True:
            page = self.read(path, **parameters, **cursor).json()
            yield page["data"]
            if page["next_cursor"] is None:
                return
            cursor = {"cursor": page["next_cursor"]}

    def addresses(self, **parameters: Any) -> list[str]:
        """The addresses in a list of accounts."""
        return [account["address"] for account in self.read("/accounts", **parameters).json()["data"]]


@pytest.fixture
def shelf(book: Book) -> Shelf:
    """A ledger with five more accounts."""
    filled = Shelf(book.client, book.name)
    filled.open("users:alice:wallet", metadata={"customer": "42", "tier": "gold"})
    filled.open("users:bob:wallet", metadata={"customer": "43", "tier": "gold"})
    filled.open("users:bob", metadata={"a.b": ""})
    filled.open("users-x", asset="JPY/0")
    filled.open("Z", normal_side="debit")
    return filled


ALL = ["Z", "a", "b", "users-x", "users:alice:wallet", "users:bob", "users:bob:wallet"]


def test_accounts_are_listed_by_address_in_the_shape_of_the_single_read(shelf: Shelf) -> None:
    shelf.transfer("a", "b", 5)
    listed = shelf.read("/accounts").json()["data"]
    assert [account["address"] for account in listed] == ALL
    assert listed[2] == shelf.account("b").json()
    assert shelf.addresses(order="desc") == ALL[::-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
def test_pages_have_everything_once(shelf: Shelf, size: int, order: str) -> None:
    pages = list(shelf.pages("/accounts", page_size=size, order=order))
    assert [account["address"] for page in pages for account in page] == ALL[:: 1 if order == "asc" else -1]
    assert {len(page) for page in pages[:-1]} <= {size}
    assert 1 <= len(pages[-1]) <= size


@pytest.mark.parametrize(
    ("filters", "addresses"),
    [
        ({"prefix": "users:"}, ["users:alice:wallet", "users:bob", "users:bob:wallet"]),
        ({"prefix": "users:bob"}, ["users:bob", "users:bob:wallet"]),
        ({"prefix": "users"}, ["users-x", "users:alice:wallet", "users:bob", "users:bob:wallet"]),
        ({"prefix": "nothing"}, []),
        ({"asset": "JPY/0"}, ["users-x"]),
        ({"status": "open", "asset": "JPY/0"}, ["users-x"]),
        ({"status": "frozen"}, []),
        ({"metadata.customer": "42"}, ["users:alice:wallet"]),
        ({"metadata.tier": "gold"}, ["users:alice:wallet", "users:bob:wallet"]),
        ({"metadata.tier": "gold", "metadata.customer": "43"}, ["users:bob:wallet"]),
        ({"metadata.a.b": ""}, ["users:bob"]),
        ({"metadata.customer": "4"}, []),
        ({"prefix": "", "asset": "", "status": ""}, ALL),
    ],
)
def test_filters(shelf: Shelf, filters: dict[str, str], addresses: list[str]) -> None:
    assert shelf.addresses(**filters) == addresses


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("page_size=0", "?page_size"),
        ("page_size=-1", "?page_size"),
        ("page_size=x", "?page_size"),
        ("page_size=", "?page_size"),
        ("page_size=1.0", "?page_size"),
        ("page_size=1_0", "?page_size"),
        ("page_size=%C2%B2", "?page_size"),
        ("order=down", "?order"),
        ("asset=usd", "?asset"),
        ("status=gone", "?status"),
        ("prefix=a%00", "?prefix"),
        ("prefix=a%20b", "?prefix"),
        ("metadata.a%20b=1", "?metadata.a b"),
        ("metadata.a=%00", "?metadata.a"),
        ("metadata=1", "?metadata"),
        ("min_position=-1", "?min_position"),
        ("min_position=x", "?min_position"),
        ("min_position=9223372036854775808", "?min_position"),
        ("since=2026-01-01T00:00:00Z", "?since"),
        ("unknown=1", "?unknown"),
        ("asset=USD/2&asset=USD/2", "?asset"),
        ("&".join(f"metadata.k{n}=" for n in range(101)), "?"),
    ],
)
def test_parameters_that_cannot_be(book: Book, query: str, pointer: str) -> None:
    assert pointers_of(book.client.get(f"{book.path}/accounts?{query}")) == [pointer]


@pytest.mark.parametrize("size", ["1001", "99999999999999999999"])
def test_a_page_is_never_larger_than_a_thousand(shelf: Shelf, size: str) -> None:
    assert shelf.addresses(page_size=size) == ALL


GARBAGE = ["", "x", "nonsense", "é", "e30", "W10", "WzEsMl0", "null", "%00", "A" * 5000]


@pytest.mark.parametrize("cursor", GARBAGE)
def test_a_cursor_that_is_none(book: Book, cursor: str) -> None:
    answer = book.client.get(f"{book.path}/accounts?cursor={cursor}")
    assert (answer.status_code, code_of(answer)) == (400, "cursor_invalid")


@pytest.mark.parametrize(
    "place", ["1", '["2026-01-01T00:00:00Z",1]', '["x",1,1]', '["2026-01-01T00:00:00Z",1e30,1]']
)
def test_a_cursor_that_was_made_up(book: Book, place: str) -> None:
    cursor = urlsafe_b64encode(f'["0123456789abcdef",{place}]'.encode()).decode()
    answer = book.client.get(f"{book.path}/accounts/a/entries?cursor={cursor}")
    assert (answer.status_code, code_of(answer)) == (400, "cursor_invalid")


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("/accounts", {"prefix": "users:"}),
        ("/accounts", {"order": "desc"}),
        ("/accounts", {"metadata.tier": ""}),
        ("/accounts/a/entries", {}),
    ],
)
def test_a_cursor_of_another_list(shelf: Shelf, path: str, other: dict[str, str]) -> None:
    cursor = shelf.read("/accounts", page_size=1).json()["next_cursor"]
    if path != "/accounts":
        shelf.transfer("a", "b", 1)
        shelf.transfer("a", "b", 1)
        cursor = shelf.read("/accounts/b/entries", page_size=1).json()["next_cursor"]
    answer = shelf.client.get(shelf.path + path, params={"cursor": cursor, **other})
    assert (answer.status_code, code_of(answer)) == (400, "cursor_mismatch")


@pytest.mark.parametrize(
    "same", [{"order": "asc"}, {"page_size": "5"}, {"prefix": ""}, {"min_position": "0"}]
)
def test_a_cursor_of_the_same_list(shelf: Shelf, same: dict[str, str]) -> None:
    cursor = shelf.read("/accounts", page_size=1).json()["next_cursor"]
    assert shelf.addresses(cursor=cursor, **same)[:2] == ALL[1:3]


def test_pages_are_stable_under_writes(shelf: Shelf) -> None:
    first = shelf.read("/accounts", page_size=3).json()
    shelf.open("aa")
    assert shelf.addresses(cursor=first["next_cursor"]) == ALL[3:]


@pytest.fixture
def dated(shelf: Shelf) -> Shelf:
    """The same with three transfers. The second took effect before the first."""
    for amount, effective_at in (
        (1, "2026-02-01T00:00:00Z"),
        (2, "2026-01-01T00:00:00Z"),
        (4, "2026-03-01T00:00:00Z"),
    ):
        answer = shelf.transfer("a", "b", amount, effective_at=effective_at, reference=f"r{amount}")
        assert answer.status_code == 201
    return shelf


@pytest.mark.parametrize(
    ("clock", "balances"),
    [("recorded", [(1, 1), (2, 3), (4, 7)]), ("effective", [(2, 2), (1, 3), (4, 7)])],
)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_statement_runs_in_the_order_of_its_clock(
    dated: Shelf, clock: str, order: str, balances: list[tuple[int, int]]
) -> None:
    pages = dated.pages("/accounts/b/entries", clock=clock, order=order, page_size=2)
    entries = [entry for page in pages for entry in page]
    expected = balances if order == "asc" else balances[::-1]
    assert [(entry["amount"], entry["balance_after"]) for entry in entries] == expected


def test_an_entry_is_shown_as_in_the_contract(dated: Shelf) -> None:
    entry = dated.read("/accounts/a/entries").json()["data"][0]
    transaction = dated.client.get(f"{dated.path}/transactions/{entry['transaction_id']}").json()
    assert entry == {
        "transaction_id": transaction["id"],
        "kind": "posting",
        "direction": "debit",
        "amount": 1,
        "balance_after": -1,
        "effective_at": "2026-02-01T00:00:00.000000Z",
        "recorded_at": transaction["recorded_at"],
        "position": transaction["position"],
        "reference": "r1",
    }


@pytest.mark.parametrize(
    ("bounds", "amounts"),
    [
        ({"from": "2026-02-01T00:00:00Z"}, [1, 4]),
        ({"to": "2026-02-01T00:00:00Z"}, [2]),
        ({"from": "2026-01-01T01:00:00+01:00", "to": "2026-03-01T00:00:00.000001Z"}, [2, 1, 4]),
        ({"from": "2026-02-01T00:00:00.000001Z", "to": "2026-03-01T00:00:00Z"}, []),
    ],
)
def test_bounds_are_from_inclusive_to_exclusive(
    dated: Shelf, bounds: dict[str, str], amounts: list[int]
) -> None:
    entries = dated.read("/accounts/b/entries", clock="effective", **bounds).json()["data"]
    assert [entry["amount"] for entry in entries] == amounts


def test_bounds_of_the_recorded_clock(dated: Shelf) -> None:
    entries = dated.read("/accounts/b/entries").json()["data"]
    second = entries[1]["recorded_at"]
    after = dated.read("/accounts/b/entries", **{"from": second}).json()["data"]
    before = dated.read("/accounts/b/entries", to=second).json()["data"]
    assert (before, after) == (entries[:1], entries[1:])


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("from=yesterday", "?from"), ("to=2026-01-01", "?to"), ("clock=wall", "?clock"), ("until=1", "?until")],
)
def test_bounds_that_are_none(book: Book, query: str, pointer: str) -> None:
    assert pointers_of(book.client.get(f"{book.path}/accounts/a/entries?{query}")) == [pointer]


def test_refused_transactions_are_in_no_statement(shelf: Shelf) -> None:
    shelf.open("poor", min_balance=0)
    shelf.transfer("poor", "a", 1)
    assert shelf.read("/accounts/poor/entries").json() == {"data": [], "next_cursor": None}


def test_an_account_may_be_read_from_the_projection(shelf: Shelf) -> None:
    shelf.transfer("a", "b", 3)
    eventual = shelf.read("/accounts/b", consistency="eventual")
    assert eventual.json() == shelf.account("b").json()
    assert eventual.headers["etag"] == shelf.account("b").headers["etag"]
    assert pointers_of(shelf.account("b?consistency=later")) == ["?consistency"]


@pytest.mark.parametrize("path", ["/accounts?", "/accounts/a/entries?", "/accounts/a?consistency=eventual&"])
def test_a_position_that_is_not_reached_in_time(
    book: Book, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistency, "DEFAULT_WAIT_SECONDS", 60.0)
    began = monotonic()
    answer = book.client.get(f"{book.path}{path}min_position={2**62}", headers={"Prefer": "wait=0"})
    assert (answer.status_code, code_of(answer)) == (503, "projection_behind")
    assert monotonic() - began < 20, "it did not wait for the default time"
    problem = answer.json()
    assert problem["state"] == "running"
    assert 0 <= problem["position"] <= problem["head"] < 2**62
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.skipif(
    is_of_replica(),
    reason="a replica waits: what is missing may be among the events that its copy lacks",
)
def test_what_is_missing_comes_before_waiting(book: Book) -> None:
    answer = book.client.get(f"{book.path}/accounts/nobody/entries?min_position={2**62}")
    assert code_of(answer) == "account_not_found"


def test_every_write_can_be_read_back_at_its_position(book: Book) -> None:
    for count in range(1, 11):
        position = book.transfer("a", "b", 1).headers["ledger-position"]
        answer = book.client.get(f"{book.path}/accounts/b/entries?min_position={position}")
        assert len(answer.json()["data"]) == count


def test_a_paused_projection_says_so(served: Served, book: Book) -> None:
    def set_state(state: str) -> None:
        with served.database.connect("test") as connection:
            connection.execute("UPDATE projection_versions SET state = %s WHERE name = 'entries'", (state,))

    set_state("paused")
    try:
        book.transfer("a", "b", 1)
        position = book.transfer("a", "b", 1).headers["ledger-position"]
        answer = book.client.get(
            f"{book.path}/accounts/b/entries?min_position={position}", headers={"Prefer": "wait=0.6"}
        )
        assert (code_of(answer), answer.json()["state"]) == ("projection_behind", "paused")
        for _ in range(3):
            position = book.transfer("a", "b", 1).headers["ledger-position"]
            answer = book.client.get(
                f"{book.path}/accounts/b/entries?min_position={position}", headers={"Prefer": "wait=0"}
            )
            # What was acknowledged is in the journal, even if no projection has it yet.
            assert int(position) <= answer.json()["head"] <= int(answer.headers["ledger-head"])
        stale = book.client.get(f"{book.path}/accounts/b/entries")
        assert int(stale.headers["ledger-position"]) < int(stale.headers["ledger-head"])
    finally:
        set_state("running")
    answer = book.client.get(f"{book.path}/accounts/b/entries?min_position={position}")
    assert len(answer.json()["data"]) == 5


def test_ledgers_are_listed_oldest_first(shelf: Shelf) -> None:
    position = shelf.client.get(shelf.path).headers["ledger-position"]
    ledgers: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = shelf.client.get(f"/v1/ledgers?page_size=2&min_position={position}{cursor}")
        page = answer.json()
        ledgers += page["data"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [ledger["opened_at"] for ledger in ledgers] == sorted(ledger["opened_at"] for ledger in ledgers)
    names = [ledger["name"] for ledger in ledgers]
    assert len(names) == len(set(names))
    assert shelf.name in names


def test_keys_are_listed_in_pages(client: httpx2.Client) -> None:
    made = [
        client.post("/v1/keys", json={"name": f"paged-{n}", "roles": ["auditor"]}).json()["id"]
        for n in range(3)
    ]
    found: list[str] = []
    cursor = ""
    while True:
        page = client.get(f"/v1/keys?page_size=2{cursor}").json()
        found += [key["id"] for key in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [id for id in found if id in made] == made
    assert len(found) == len(set(found))


def test_how_far_projections_are(client: httpx2.Client) -> None:
    listed = client.get("/v1/projections").json()["data"]
    assert {"balances", "entries", "ledgers"} <= {projection["name"] for projection in listed}
    shown = client.get("/v1/projections/balances").json()
    assert set(shown) >= {
        "name",
        "version",
        "state",
        "position",
        "head",
        "lag_events",
        "lag_seconds",
        "rate_events_per_second",
        "dead_letters",
        "rebuild",
    }
    for name in ("nothing", "%00", "a%2Fb"):
        answer = client.get(f"/v1/projections/{name}")
        assert (answer.status_code, code_of(answer)) == (404, "projection_not_found")


@pytest.mark.parametrize("path", ["/v1/ledgers", "accounts"])
def test_a_cursor_with_text_that_cannot_be_stored_is_invalid(shelf: Shelf, path: str) -> None:
    path = path if path.startswith("/") else f"{shelf.path}/{path}"
    opened = shelf.client.post("/v1/ledgers", json={"name": f"{shelf.name}-2"})
    position = opened.headers["ledger-position"]
    cursor = shelf.client.get(f"{path}?page_size=1&min_position={position}").json()["next_cursor"]
    identity, place = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    place = [place[0], "\0"] if isinstance(place, list) else "\0"
    forged = base64.urlsafe_b64encode(json.dumps([identity, place]).encode()).decode()
    answer = shelf.client.get(f"{path}?page_size=1&cursor={forged}")
    assert (answer.status_code, code_of(answer)) == (400, "cursor_invalid")


def test_a_choice_that_is_none_is_pointed_at_once(shelf: Shelf) -> None:
    answer = shelf.client.get(f"{shelf.path}/accounts?status=shut")
    assert answer.status_code == 422 and [error["pointer"] for error in answer.json()["errors"]] == [
        "?status"
    ]


def test_a_confirmation_read_of_a_position_that_is_not_recorded_yet_says_so(shelf: Shelf) -> None:
    head = int(shelf.client.get(shelf.path).headers["ledger-position"])
    listed = shelf.client.get(f"{shelf.path}/accounts?min_position={head}").json()
    address = listed["data"][0]["address"]
    assert shelf.client.get(f"{shelf.path}/accounts/{address}?min_position={head}").status_code == 200
    answer = shelf.client.get(f"{shelf.path}/accounts/{address}?min_position={head + 10_000}")
    assert (answer.status_code, code_of(answer)) == (503, "projection_behind")
