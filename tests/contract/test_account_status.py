"""Accounts frozen, unfrozen and closed over HTTP."""

from typing import Any

import httpx2
import pytest

from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.journals import Journal

VERBS = ["freeze", "unfreeze", "close"]


def test_an_account_is_frozen_unfrozen_and_closed(book: Book, journal: Journal) -> None:
    before = book.account("a").json()
    for version, (verb, status) in enumerate(
        [("freeze", "frozen"), ("unfreeze", "open"), ("freeze", "frozen"), ("close", "closed")], start=2
    ):
        answer = book.change(verb, "a", "a reason")
        assert answer.status_code == 200
        shown = answer.json()
        position = int(answer.headers["ledger-position"])
        assert shown == {**before, "status": status, "version": version, "position": position}
        assert answer.headers["etag"] == f'"{version}"'
        assert book.account("a").json() == shown
        (event,) = journal.after(position - 1)
        assert event["payload"] == {"reason": "a reason"}
        assert event["correlation_id"] == answer.headers["correlation-id"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_repetition_records_nothing(book: Book, journal: Journal, verb: str) -> None:
    first = book.change(verb, "a")
    newest = book.transfer("b", "b", 1).headers["ledger-position"]
    again = book.change(verb, "a", "another reason")
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["ledger-position"] == newest == str(journal.head())


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x" * 500}])
def test_the_reason_may_be_left_out(book: Book, body: dict[str, Any]) -> None:
    assert book.client.post(f"{book.path}/accounts/a/freeze", json=body).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"reason": "x" * 501}, ["/reason"]),
        ({"reason": None}, ["/reason"]),
        ({"reason": 1}, ["/reason"]),
        ({"reasons": ""}, ["/reasons"]),
        ([], [""]),
    ],
)
@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_shape_is_pointed_at(book: Book, verb: str, body: Any, pointers: list[str]) -> None:
    assert pointers_of(book.client.post(f"{book.path}/accounts/a/{verb}", json=body)) == pointers


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("address", ["nobody", "a%2Fb", "%00", "a%20b", "x" * 300])
def test_an_account_that_is_not_there(book: Book, verb: str, address: str) -> None:
    answer = book.change(verb, address, **{"If-Match": '"9"'})
    assert (answer.status_code, code_of(answer)) == (404, "account_not_found")


@pytest.mark.parametrize("verb", VERBS)
def test_if_match_is_honoured(book: Book, verb: str) -> None:
    book.transfer("a", "b", 1)  # so that closing it is also refused, by a later rule
    stale = book.change(verb, "a", **{"If-Match": '"1"'})
    assert (stale.status_code, code_of(stale)) == (412, "version_mismatch")
    book.transfer("b", "a", 1)
    seen = book.account("a").headers["etag"]
    assert book.change(verb, "a", **{"If-Match": seen}).status_code == 200
    assert code_of(book.change(verb, "a", **{"If-Match": '"1"'})) == "version_mismatch"


@pytest.mark.parametrize("address", ["a", "b"])
def test_only_what_is_empty_is_closed(book: Book, address: str) -> None:
    hold = book.hold("a", "b", 5).json()
    answer = book.change("close", address)
    assert (answer.status_code, code_of(answer)) == (409, "account_not_empty")
    settled = book.settle(hold["id"]).json()
    assert code_of(book.change("close", address)) == "account_not_empty"
    book.reverse(settled["id"])
    assert book.change("close", address).json()["status"] == "closed"


def test_a_closed_account_stays_so(book: Book) -> None:
    closed = book.change("close", "a").json()
    for answer in (
        book.change("freeze", "a"),
        book.change("unfreeze", "a"),
        book.client.patch(f"{book.path}/accounts/a", json={"min_balance": 0}),
        book.client.patch(f"{book.path}/accounts/a", json={}),
        book.transfer("a", "b", 1),
        book.hold("b", "a", 1),
    ):
        assert (answer.status_code, code_of(answer)) == (409, "account_closed")
    assert book.account("a").json() == closed
    body = {"address": "a", "asset": "USD/2", "normal_side": "credit"}
    again = book.client.post(f"{book.path}/accounts", json=body)
    assert (again.status_code, again.json()) == (200, closed)


def test_a_frozen_account_refuses_everything_that_moves_money(book: Book) -> None:
    posted, hold = book.transfer("a", "b", 1).json(), book.hold("a", "b", 1).json()
    book.change("freeze", "b")
    for answer in (
        book.transfer("a", "b", 1),
        book.transfer("b", "a", 1),
        book.hold("a", "b", 1),
        book.settle(hold["id"]),
        book.reverse(posted["id"]),
    ):
        assert (answer.status_code, code_of(answer)) == (409, "account_frozen")
        assert book.transaction(answer.json()["transaction_id"]).json()["status"] == "rejected"
    assert book.void(hold["id"]).status_code == 201
    changed = book.client.patch(f"{book.path}/accounts/b", json={"metadata": {"k": "v"}})
    assert (changed.status_code, changed.json()["status"]) == (200, "frozen")


def test_a_closed_account_is_said_before_a_frozen_one_and_both_before_limits(book: Book) -> None:
    book.open("poor", min_balance=0)
    book.change("freeze", "poor")
    assert code_of(book.transfer("poor", "b", 1)) == "account_frozen"
    book.change("close", "b")
    assert code_of(book.transfer("poor", "b", 1)) == "account_closed"


def test_lists_find_accounts_by_their_status(book: Book) -> None:
    book.change("close", "a")
    position = book.change("freeze", "b").headers["ledger-position"]
    for status, found in (("frozen", ["b"]), ("closed", ["a"]), ("open", [])):
        query = f"?status={status}&min_position={position}"
        listed = book.client.get(f"{book.path}/accounts{query}").json()["data"]
        assert [account["address"] for account in listed] == found


@pytest.mark.parametrize("verb", VERBS)
def test_auditors_may_not(book: Book, keys: Keys, verb: str) -> None:
    auditor: httpx2.Client = keys.client("auditor", ledgers=["*"])
    answer = auditor.post(f"{book.path}/accounts/a/{verb}", json={})
    assert (answer.status_code, code_of(answer)) == (403, "forbidden")
