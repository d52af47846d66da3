"""Accounts as they stood at a position, or at an instant of recorded time, over HTTP."""

from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book


def past(book: Book, address: str, **parameters: Any) -> httpx2.Response:
    return book.client.get(f"{book.path}/accounts/{address}", params=parameters)


def head_of(book: Book) -> int:
    return int(book.client.get(book.path).headers["ledger-position"])


def test_every_position_shows_the_account_as_it_was_then(book: Book) -> None:
    seen = {head_of(book): book.account("b").json()}
    for amount in range(1, 6):
        book.transfer("a", "b", amount)
        seen[head_of(book)] = book.account("b").json()
    changed = book.client.patch(f"{book.path}/accounts/b", json={"metadata": {"k": "v"}})
    head = int(changed.headers["ledger-position"])
    seen[head] = changed.json()
    for position in range(min(seen), head + 1):
        answer = past(book, "b", at_position=position)
        assert answer.status_code == 200
        assert answer.json() == seen[max(known for known in seen if seen[known]["position"] <= position)]
        assert answer.headers["ledger-position"] == str(position)
        assert answer.headers["ledger-head"] == str(head)
        assert answer.headers["etag"] == f'"{answer.json()["version"]}"'


def test_an_instant_shows_all_that_was_recorded_by_then(book: Book) -> None:
    posted = [book.transfer("a", "b", 1).json() for _ in range(5)]
    for transaction in posted:
        at = transaction["recorded_at"]
        by_then = [other for other in posted if other["recorded_at"] <= at]
        answer = past(book, "b", at=at)
        assert answer.json()["balance"] == len(by_then)
        assert answer.headers["ledger-position"] == str(by_then[-1]["position"])
        assert answer.headers["ledger-head"] == str(posted[-1]["position"])
        again = past(book, "b", at_position=answer.headers["ledger-position"])
        assert again.json() == answer.json()


def test_an_instant_may_be_written_with_any_offset(book: Book) -> None:
    at = book.transfer("a", "b", 1).json()["recorded_at"]
    book.transfer("a", "b", 1)
    shown = past(book, "b", at=at).json()
    assert shown == past(book, "b", at=at.replace("Z", "-00:00")).json()
    assert shown == book.account(f"b?at={quote(at.replace('Z', '+00:00'))}").json()
    assert shown["version"] == 2


def test_before_it_was_opened_there_is_no_account(book: Book) -> None:
    opened = book.open("c")
    for position in (0, 1, opened["position"] - 1):
        answer = past(book, "c", at_position=position)
        assert (answer.status_code, code_of(answer)) == (404, "account_not_found")
        assert answer.headers["ledger-position"] == str(position)
    assert past(book, "c", at_position=opened["position"]).json() == opened
    assert past(book, "c", at=opened["opened_at"]).json() == opened
    for at in ("0001-01-01T00:00:00Z", "1999-12-31T23:59:59.5Z"):
        answer = past(book, "c", at=at)
        assert (answer.status_code, code_of(answer)) == (404, "account_not_found")
        assert answer.headers["ledger-position"] == "0"


@pytest.mark.parametrize("address", ["nobody", "a%2Fb", "%00", "x" * 300])
def test_an_account_that_never_was(book: Book, address: str) -> None:
    answer = book.account(f"{address}?at_position={head_of(book)}")
    assert (answer.status_code, code_of(answer)) == (404, "account_not_found")


@pytest.mark.parametrize("query", ["at_position=0", "at_position=1", "at=2000-01-01T00:00:00Z"])
@pytest.mark.parametrize("name", ["no-such-ledger", "A", "%00"])
def test_a_ledger_that_is_not_there(book: Book, name: str, query: str) -> None:
    answer = book.client.get(f"/v1/ledgers/{name}/accounts/a?{query}")
    assert (answer.status_code, code_of(answer)) == (404, "ledger_not_found")


@pytest.mark.parametrize("path", ["/accounts/a", "/accounts/nobody"])
@pytest.mark.parametrize("ledger", [None, "no-such-ledger"])
def test_what_is_yet_to_come_has_the_wrong_shape(book: Book, path: str, ledger: str | None) -> None:
    ledger = ledger or book.name
    for position in (head_of(book) + 1, 2**63 - 1):
        answer = book.client.get(f"/v1/ledgers/{ledger}{path}?at_position={position}")
        assert pointers_of(answer) == ["?at_position"]
    for at in ("2999-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"):
        assert pointers_of(book.client.get(f"/v1/ledgers/{ledger}{path}?at={at}")) == ["?at"]


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("at_position=1&at=2000-01-01T00:00:00Z", ["?at"]),
        ("at=2000-01-01T00:00:00Z&at_position=1", ["?at"]),
        ("at_position=1&consistency=eventual", ["?at_position"]),
        ("at=2000-01-01T00:00:00Z&consistency=eventual", ["?at"]),
        ("at_position=1&consistency=later", ["?consistency"]),
        ("at_position=-1", ["?at_position"]),
        ("at_position=", ["?at_position"]),
        ("at_position=1.0", ["?at_position"]),
        ("at_position=x", ["?at_position"]),
        (f"at_position={2**63}", ["?at_position"]),
        ("at_position=x&at=y", ["?at_position", "?at"]),
        ("at=", ["?at"]),
        ("at=yesterday", ["?at"]),
        ("at=2026-01-01", ["?at"]),
        ("at=2026-01-01T00:00:00", ["?at"]),
        ("at=2026-01-01T00:00:00.0000001Z", ["?at"]),
        ("at=2026-02-30T00:00:00Z", ["?at"]),
        ("at_position=1&at_position=2", ["?at_position"]),
    ],
)
def test_a_past_that_is_none(book: Book, query: str, pointers: list[str]) -> None:
    assert pointers_of(book.account(f"a?{query}")) == pointers


def test_the_default_consistency_may_be_said(book: Book) -> None:
    head = head_of(book)
    assert past(book, "a", at_position=head, consistency="strong").json() == book.account("a").json()


def test_a_position_that_is_not_recorded_yet_is_waited_for_in_vain(book: Book) -> None:
    head = head_of(book)
    assert past(book, "a", at_position=head, min_position=head).status_code == 200
    answer = past(book, "a", at_position=head, min_position=head + 10_000)
    assert (answer.status_code, code_of(answer)) == (503, "projection_behind")
    beyond = past(book, "a", at_position=head + 1, min_position=head + 10_000)
    assert pointers_of(beyond) == ["?at_position"]


def test_a_version_known_already_is_not_sent_again(book: Book) -> None:
    before = book.account("b")
    head = head_of(book)
    book.transfer("a", "b", 1)
    known = {"If-None-Match": before.headers["etag"]}
    answer = book.account(f"b?at_position={head}", headers=known)
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == before.headers["etag"]
    assert answer.headers["ledger-position"] == str(head)
    assert book.account(f"b?at_position={head_of(book)}", headers=known).status_code == 200
