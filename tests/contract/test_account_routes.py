"""Ledgers and accounts over HTTP: opening, reading, changing."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book

MAX = 2**53 - 1
ATTRIBUTES: dict[str, Any] = {
    "address": "users:alice:wallet",
    "asset": "EUR/2",
    "normal_side": "credit",
    "min_balance": -5,
    "max_balance": 1000,
    "metadata": {"customer": "42"},
}


def test_a_ledger_is_opened_once(client: httpx2.Client) -> None:
    body = {"name": f"l{uuid4().hex[:8]}", "metadata": {"owner": "me"}}
    opened = client.post("/v1/ledgers", json=body)
    assert opened.status_code == 201
    assert opened.json() == {
        "name": body["name"],
        "metadata": {"owner": "me"},
        "assets": [],
        "version": 1,
        "position": int(opened.headers["ledger-position"]),
        "opened_at": opened.json()["opened_at"],
    }
    again = client.post("/v1/ledgers", json=body)
    assert (again.status_code, again.json()) == (200, opened.json())
    other = client.post("/v1/ledgers", json={"name": body["name"]})
    assert (other.status_code, code_of(other)) == (409, "ledger_exists")
    assert client.get(opened.headers["location"]).json() == opened.json()


@pytest.mark.parametrize("name", ["", "A", "1a", "a" * 64, "a_b", "a/b", "a\n", None, 1])
def test_names_that_no_ledger_has(client: httpx2.Client, name: Any) -> None:
    assert pointers_of(client.post("/v1/ledgers", json={"name": name})) == ["/name"]


@pytest.mark.parametrize("name", ["no-such-ledger", "A", "a%2Fb", "%00", "é"])
@pytest.mark.parametrize(
    "path", ["", "/accounts", "/accounts/a", "/accounts/a/entries", "/transactions/x", "/operations/k"]
)
def test_a_ledger_that_is_not_there(client: httpx2.Client, name: str, path: str) -> None:
    answer = client.get(f"/v1/ledgers/{name}{path}")
    assert (answer.status_code, code_of(answer)) == (404, "ledger_not_found")


def test_a_ledger_shows_its_assets(book: Book) -> None:
    book.open("x", asset="BTC/8")
    assert book.client.get(book.path).json()["assets"] == ["BTC/8", "USD/2"]


def test_an_account_is_opened_and_shown_as_in_the_contract(book: Book) -> None:
    opened = book.client.post(f"{book.path}/accounts", json=ATTRIBUTES)
    assert opened.status_code == 201
    shown = opened.json()
    assert shown == {
        "ledger": book.name,
        **ATTRIBUTES,
        "status": "open",
        "posted": {"debits": 0, "credits": 0},
        "pending": {"debits": 0, "credits": 0},
        "balance": 0,
        "available": 0,
        "version": 1,
        "position": int(opened.headers["ledger-position"]),
        "opened_at": shown["opened_at"],
    }
    assert opened.headers["etag"] == '"1"'
    assert book.client.get(opened.headers["location"]).json() == shown


def test_the_same_opening_again_shows_the_account_as_it_is_now(book: Book) -> None:
    book.client.post(f"{book.path}/accounts", json=ATTRIBUTES)
    change = {"metadata": {"customer": "43"}, "min_balance": None}
    changed = book.client.patch(f"{book.path}/accounts/users:alice:wallet", json=change)
    again = book.client.post(f"{book.path}/accounts", json=ATTRIBUTES)
    assert (again.status_code, again.json()) == (200, changed.json())


@pytest.mark.parametrize(
    "other",
    [
        {"asset": "USD/2"},
        {"normal_side": "debit"},
        {"min_balance": None},
        {"max_balance": 7},
        {"metadata": {}},
    ],
)
def test_another_opening_of_an_account(book: Book, other: dict[str, Any]) -> None:
    book.client.post(f"{book.path}/accounts", json=ATTRIBUTES)
    answer = book.client.post(f"{book.path}/accounts", json={**ATTRIBUTES, **other})
    assert (answer.status_code, code_of(answer)) == (409, "account_exists")


def test_a_code_has_one_scale(book: Book) -> None:
    answer = book.client.post(f"{book.path}/accounts", json={**ATTRIBUTES, "asset": "USD/3"})
    assert (answer.status_code, code_of(answer)) == (409, "asset_scale_conflict")


REFUSED_SHAPES: list[tuple[dict[str, Any], list[str]]] = [
    ({"address": "a b"}, ["/address"]),
    ({"address": "x" * 65}, ["/address"]),
    ({"address": ":".join("abcdefghijk")}, ["/address"]),
    ({"address": ""}, ["/address"]),
    ({"asset": "usd/2"}, ["/asset"]),
    ({"asset": "USD/19"}, ["/asset"]),
    ({"asset": "USD/02"}, ["/asset"]),
    ({"asset": "USD"}, ["/asset"]),
    ({"normal_side": "left"}, ["/normal_side"]),
    ({"min_balance": "0"}, ["/min_balance"]),
    ({"min_balance": 0.0}, ["/min_balance"]),
    ({"min_balance": True}, ["/min_balance"]),
    ({"min_balance": -MAX - 1}, ["/min_balance"]),
    ({"max_balance": MAX + 1}, ["/max_balance"]),
    ({"min_balance": 2, "max_balance": 1}, ["/min_balance"]),
    ({"metadata": None}, ["/metadata"]),
    ({"metadata": {"k": 1}}, ["/metadata/k"]),
    ({"balance": 5}, ["/balance"]),
]


@pytest.mark.parametrize(("wrong", "pointers"), REFUSED_SHAPES)
def test_a_wrong_shape_is_pointed_at(book: Book, wrong: dict[str, Any], pointers: list[str]) -> None:
    answer = book.client.post(f"{book.path}/accounts", json={**ATTRIBUTES, **wrong})
    assert pointers_of(answer) == pointers


def test_what_is_missing_is_pointed_at(book: Book) -> None:
    answer = book.client.post(f"{book.path}/accounts", json={})
    assert pointers_of(answer) == ["/address", "/asset", "/normal_side"]


@pytest.mark.parametrize("address", ["nobody", "a%2Fb", "%00", "a%20b", "x" * 300, "a:b:c:d:e:f:g:h:i:j:k"])
@pytest.mark.parametrize("what", ["", "?consistency=eventual", "/entries"])
def test_an_account_that_is_not_there(book: Book, address: str, what: str) -> None:
    answer = book.client.get(f"{book.path}/accounts/{address}{what}")
    assert (answer.status_code, code_of(answer)) == (404, "account_not_found")


def test_a_confirmation_read_shows_every_acknowledged_write(book: Book) -> None:
    for count in range(1, 20):
        posted = book.transfer("a", "b", 1)
        read = book.account("b")
        assert read.json()["balance"] == count
        assert int(read.headers["ledger-position"]) >= int(posted.headers["ledger-position"])


def test_both_sides_are_mirrored(book: Book) -> None:
    book.open("assets", normal_side="debit")
    book.transfer("assets", "b", 30)
    assert book.account("assets").json()["balance"] == 30
    assert book.account("b").json()["balance"] == 30


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"metadata": {"k": "v"}}, {"metadata": {"k": "v"}, "min_balance": -5, "max_balance": 1000}),
        ({"metadata": {}}, {"metadata": {}}),
        ({"min_balance": None}, {"min_balance": None, "max_balance": 1000, "metadata": {"customer": "42"}}),
        ({"min_balance": 0, "max_balance": None}, {"min_balance": 0, "max_balance": None}),
        ({"min_balance": -MAX, "max_balance": MAX}, {"min_balance": -MAX, "max_balance": MAX}),
    ],
)
def test_a_change_changes_what_it_names(book: Book, change: dict[str, Any], shown: dict[str, Any]) -> None:
    opened = book.client.post(f"{book.path}/accounts", json=ATTRIBUTES)
    changed = book.client.patch(opened.headers["location"], json=change)
    assert changed.status_code == 200
    assert changed.json().items() >= shown.items()
    assert changed.headers["etag"] == f'"{changed.json()["version"]}"'
    assert changed.json() == book.client.get(opened.headers["location"]).json()


@pytest.mark.parametrize("change", [{}, {"min_balance": None}, {"metadata": {}}])
def test_what_changes_nothing_records_nothing(book: Book, change: dict[str, Any]) -> None:
    before = book.account("a")
    answer = book.client.patch(f"{book.path}/accounts/a", json=change)
    assert (answer.status_code, answer.json()) == (200, before.json())


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"min_balance": 1001}, ["/min_balance"]),
        ({"min_balance": 5, "max_balance": 4}, ["/min_balance"]),
        ({"metadata": None}, ["/metadata"]),
        ({"asset": "USD/2"}, ["/asset"]),
        ({"min_balance": 1.5}, ["/min_balance"]),
    ],
)
def test_a_change_that_cannot_be(book: Book, change: dict[str, Any], pointers: list[str]) -> None:
    opened = book.client.post(f"{book.path}/accounts", json=ATTRIBUTES)
    assert pointers_of(book.client.patch(opened.headers["location"], json=change)) == pointers
    assert book.client.get(opened.headers["location"]).json() == opened.json()


@pytest.mark.parametrize(
    "path", ["{book}/accounts/a", "{book}/accounts/nobody", "/v1/ledgers/nowhere/accounts/a"]
)
def test_limits_that_no_account_could_have_are_judged_before_the_account(book: Book, path: str) -> None:
    answer = book.client.patch(
        path.format(book=book.path),
        json={"min_balance": 1, "max_balance": 0},
        headers={"If-Match": '"7"'},
    )
    assert (answer.status_code, pointers_of(answer)) == (422, ["/min_balance"])


def test_a_limit_that_is_broken_already_may_be_set(book: Book) -> None:
    book.transfer("a", "b", 10)
    assert book.client.patch(f"{book.path}/accounts/a", json={"min_balance": 0}).status_code == 200
    assert code_of(book.transfer("a", "b", 1)) == "insufficient_funds"
    assert book.transfer("b", "a", 1).status_code == 201


@pytest.mark.parametrize("match", ['"1"', "*", '"7", "1"', '"7","1"'])
def test_if_match_lets_the_version_pass_that_it_names(book: Book, match: str) -> None:
    answer = book.client.patch(
        f"{book.path}/accounts/a", json={"min_balance": 0}, headers={"If-Match": match}
    )
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')


@pytest.mark.parametrize(
    "match",
    ['"2"', '"0"', 'W/"1"', "1", '"01"', '"1', '"one"', "", '"7", "8"', '"-1"', '"' + "9" * 40 + '"', '"١"'],
)
def test_if_match_holds_back_every_other(book: Book, match: str) -> None:
    headers = httpx2.Headers([(b"If-Match", match.encode())])
    answer = book.client.patch(f"{book.path}/accounts/a", json={"min_balance": 0}, headers=headers)
    assert (answer.status_code, code_of(answer)) == (412, "version_mismatch")
    assert book.account("a").json()["min_balance"] is None


def test_of_two_who_saw_the_same_version_one_may_change_it(book: Book) -> None:
    seen = book.account("a").headers["etag"]
    answers = [
        book.client.patch(f"{book.path}/accounts/a", json={"min_balance": limit}, headers={"If-Match": seen})
        for limit in (-1, -2)
    ]
    assert [answer.status_code for answer in answers] == [200, 412]


def test_an_account_known_already_is_not_sent_again(book: Book) -> None:
    seen = book.account("a").headers["etag"]
    for match in (seen, f"W/{seen}", f'"77", {seen}', "*"):
        answer = book.account("a", headers={"If-None-Match": match})
        assert (answer.status_code, answer.content) == (304, b"")
    book.transfer("a", "b", 1)
    assert book.account("a", headers={"If-None-Match": seen}).status_code == 200
