"""Reversals over HTTP: of the whole, in parts until the whole is reversed, and never of more."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.answers import code_of
from tests.contract.bodies import SPLIT, UNRELATED
from tests.contract.books import Book
from tests.contract.serving import Served

MAX = 2**53 - 1


def test_a_posting_is_mirrored(book: Book) -> None:
    book.open("c")
    posted = book.post(SPLIT).json()
    answer = book.reverse(posted["id"], {}, "r")
    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["kind"], shown["status"], shown["id"]) == ("reversal", "posted", book.id_of("r"))
    assert shown["entries"] == [
        {**entry, "direction": "credit" if entry["direction"] == "debit" else "debit"}
        for entry in SPLIT["entries"]
    ]
    assert shown["related"] == {**UNRELATED, "reverses": posted["id"]}
    assert shown["effective_at"] == shown["recorded_at"]
    assert shown["position"] == int(answer.headers["ledger-position"])
    assert book.client.get(answer.headers["location"]).json() == shown
    assert [book.amounts(address) for address in "abc"] == [(10, 10, 0, 0), (7, 7, 0, 0), (3, 3, 0, 0)]
    now = book.transaction(posted["id"]).json()
    assert now == {
        **posted,
        "related": {**UNRELATED, "reversed_by": [shown["id"]]},
        "version": 2,
        "position": shown["position"] - 1,
    }


def test_parts_are_reversed_until_the_whole_is(book: Book) -> None:
    posted = book.transfer("a", "b", 10).json()
    first = book.reverse(posted["id"], {"amount": 3}).json()
    assert first["entries"] == [
        {"account": "a", "direction": "credit", "amount": 3},
        {"account": "b", "direction": "debit", "amount": 3},
    ]
    assert code_of(book.reverse(posted["id"], {"amount": 8})) == "amount_exceeds_reversible"
    second = book.reverse(posted["id"], {"amount": 2}).json()
    rest = book.reverse(posted["id"], {}).json()
    assert [entry["amount"] for entry in rest["entries"]] == [5, 5]
    for body in ({}, {"amount": 1}):
        assert code_of(book.reverse(posted["id"], body)) == "not_reversible"
    related = book.transaction(posted["id"]).json()["related"]
    assert related["reversed_by"] == [first["id"], second["id"], rest["id"]]
    assert book.account("b").json()["balance"] == 0


def test_the_amount_may_be_the_whole(book: Book) -> None:
    posted = book.transfer("a", "b", 10).json()
    assert book.reverse(posted["id"], {"amount": 10}).status_code == 201
    assert code_of(book.reverse(posted["id"])) == "not_reversible"


def test_a_settlement_is_reversed_by_what_it_posted(book: Book) -> None:
    hold = book.hold("a", "b", 10).json()
    settled = book.settle(hold["id"], {"amount": 6}).json()
    assert code_of(book.reverse(settled["id"], {"amount": 7})) == "amount_exceeds_reversible"
    assert [entry["amount"] for entry in book.reverse(settled["id"]).json()["entries"]] == [6, 6]
    assert book.account("b").json()["balance"] == 0


def test_nothing_else_is_reversible(book: Book) -> None:
    book.open("poor", min_balance=0)
    hold, other = book.hold("a", "b", 10).json(), book.hold("a", "b", 10).json()
    settled, voided = book.settle(hold["id"]).json(), book.void(other["id"]).json()
    reversal = book.reverse(settled["id"]).json()
    rejected = book.transfer("poor", "b", 1).json()["transaction_id"]
    pending = book.hold("a", "b", 10).json()
    for id in (hold["id"], other["id"], voided["id"], reversal["id"], rejected, pending["id"]):
        answer = book.reverse(id)
        assert (answer.status_code, code_of(answer)) == (409, "not_reversible")
        shown = book.transaction(answer.json()["transaction_id"]).json()
        assert (shown["kind"], shown["status"]) == ("reversal", "rejected")


@pytest.mark.parametrize(
    ("reversed_side", "limits", "code"),
    [
        ("b", {"min_balance": 1}, "insufficient_funds"),
        ("a", {"max_balance": -1}, "balance_limit_exceeded"),
    ],
)
def test_limits_apply(book: Book, reversed_side: str, limits: dict[str, Any], code: str) -> None:
    posted = book.transfer("a", "b", 10).json()
    book.client.patch(f"{book.path}/accounts/{reversed_side}", json=limits)
    refused = book.reverse(posted["id"], {}, "r")
    assert (refused.status_code, code_of(refused)) == (409, code)
    assert book.reverse(posted["id"], {"amount": 9}).status_code == 201
    assert code_of(book.reverse(posted["id"], {}, "r")) == code


def test_when_it_takes_effect_may_be_said(book: Book) -> None:
    posted = book.transfer("a", "b", 10).json()
    shown = book.reverse(posted["id"], {"effective_at": "2026-01-01T01:00:00+01:00"}).json()
    assert shown["effective_at"] == "2026-01-01T00:00:00.000000Z"


def test_it_is_in_the_statement(book: Book) -> None:
    posted = book.transfer("a", "b", 10)
    reversal = book.reverse(posted.json()["id"], {"amount": 4})
    position = reversal.headers["ledger-position"]
    answer = book.client.get(f"{book.path}/accounts/b/entries?min_position={position}")
    assert [(e["kind"], e["direction"], e["balance_after"]) for e in answer.json()["data"]] == [
        ("posting", "credit", 10),
        ("reversal", "debit", 6),
    ]


def test_of_several_refusals_the_first_of_the_table_is_given(book: Book) -> None:
    done, posted = book.transfer("a", "b", 10).json(), book.transfer("a", "b", 10).json()
    book.reverse(done["id"])
    book.transfer("b", "a", 10)
    book.change("freeze", "a")
    too_much = {"amount": 11}
    assert code_of(book.reverse(done["id"], too_much)) == "not_reversible"
    assert code_of(book.reverse(posted["id"], too_much)) == "account_frozen"
    assert book.change("close", "b").status_code == 200
    assert code_of(book.reverse(done["id"], too_much)) == "not_reversible"
    assert code_of(book.reverse(posted["id"], too_much)) == "account_closed"


def test_the_amount_comes_before_overflow_and_overflow_before_the_limits(book: Book) -> None:
    posted = book.transfer("a", "b", 10).json()
    book.transfer("b", "a", MAX)  # so that a cannot be credited, and b not debited, any more
    for address in ("a", "b"):
        book.client.patch(f"{book.path}/accounts/{address}", json={"min_balance": 0, "max_balance": 0})
    assert code_of(book.reverse(posted["id"], {"amount": 11})) == "amount_exceeds_reversible"
    assert code_of(book.reverse(posted["id"])) == "amount_overflow"


def test_of_many_at_once_no_more_is_reversed_than_was_posted(served: Served, book: Book) -> None:
    posted = book.transfer("a", "b", 10).json()

    def reverse(number: int) -> int:
        with served.client() as client:
            return Book(client, book.name).reverse(posted["id"], {"amount": 3}, f"k{number}").status_code

    with ThreadPoolExecutor(8) as senders:
        statuses = Counter(senders.map(reverse, range(16)))
    assert statuses == {201: 3, 409: 13}
    assert book.amounts("b") == (9, 10, 0, 0)
