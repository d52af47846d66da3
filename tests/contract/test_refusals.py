"""Refusals name what they concern, wherever they are answered, to every reader (api/README.md, Problems)."""

from typing import Any

import httpx2
import pytest

from api.problem_examples import example_for_page
from domain.model.errors import InsufficientFunds
from tests.contract.answers import named_in
from tests.contract.books import Book, transfer_body
from tests.contract.callers import Keys
from tests.projecting import eventually

SHORT = {
    "pointer": "/entries/0",
    "account": "poor",
    "asset": "USD/2",
    "available": 0,
    "min_balance": 0,
    "requested": 10,
    "shortfall": 10,
}


@pytest.fixture
def poor(book: Book) -> Book:
    """A book with an empty account."""
    book.open("poor", min_balance=0)
    return book


def listed(book: Book, path: str, position: str) -> list[dict[str, Any]]:
    """The content of a list, once it reflects a position."""
    query = {"min_position": position, "order": "desc"}
    data: list[dict[str, Any]] = book.client.get(f"{book.path}/{path}", params=query).json()["data"]
    return data


def test_the_same_is_named_wherever_a_refusal_is_shown(poor: Book) -> None:
    answer = poor.transfer("poor", "b", 10, "k")
    problem = answer.json()
    assert (answer.status_code, named_in(problem)) == (409, SHORT)
    rejection = {"code": "insufficient_funds", "detail": problem["detail"], **SHORT}
    shown = poor.transaction(problem["transaction_id"]).json()
    assert shown["rejection"] == rejection
    assert poor.operation("k").json()["problem"] == problem
    (in_list, *_) = listed(poor, "transactions", answer.headers["ledger-position"])
    assert in_list == shown
    poor.transfer("a", "poor", 1_000)
    again = poor.transfer("poor", "b", 10, "k")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == answer.content


def test_the_words_have_the_names_and_amounts(poor: Book) -> None:
    assert poor.transfer("poor", "b", 10).json()["detail"] == (
        "The account poor has 0 available and a min_balance of 0; the transaction asks for 10, which is 10 too much"
        " (minor units of USD/2)."
    )


def test_an_item_of_a_batch_is_named_beside_its_entry(poor: Book) -> None:
    items = [
        {"idempotency_key": "one", **transfer_body("a", "b", 1)},
        {"idempotency_key": "two", **transfer_body("poor", "b", 10)},
        {"idempotency_key": "three", **transfer_body("b", "nobody", 10)},
    ]
    rejected = poor.batch(*items, mode="atomic").json()
    assert (rejected["index"], rejected["problem"]["index"]) == (1, 1)
    assert named_in(rejected["problem"]) == SHORT
    _, two, three = [result.get("problem") for result in poor.batch(*items).json()["results"]]
    assert (two["index"], named_in(two)) == (1, SHORT)
    assert (three["index"], named_in(three)) == (2, {"pointer": "/entries/1", "account": "nobody"})
    single = poor.transfer("poor", "b", 10, "two").json()
    assert single | {"index": 1} == two


def test_a_dry_run_names_the_same(poor: Book) -> None:
    path = f"{poor.path}/transactions?dry_run=true"
    body = transfer_body("poor", "b", 10)
    answer = poor.client.post(path, json=body, headers={"Idempotency-Key": "k"})
    assert named_in(answer.json()) == SHORT


def test_what_was_accepted_to_be_carried_out_later_names_the_same(poor: Book) -> None:
    body = transfer_body("poor", "b", 10)
    assert poor.post(body, "k", Prefer="respond-async").status_code == 202
    eventually(lambda: poor.operation("k").json()["state"] == "rejected")
    assert named_in(poor.operation("k").json()["problem"]) == SHORT
    assert poor.post(body, "k", Prefer="respond-async").json() == poor.operation("k").json()["problem"]


def test_a_payout_is_refused_where_it_names_the_account(poor: Book, keys: Keys) -> None:
    answer = poor.pay_out(10, "k", "poor")
    problem = answer.json()
    assert named_in(problem) == SHORT | {"pointer": "/account"}
    rejection = {"code": problem["code"], "detail": problem["detail"], **named_in(problem)}
    shown = poor.payout(problem["transaction_id"])
    assert shown["rejection"] == rejection
    (in_list, *_) = listed(poor, "payouts", answer.headers["ledger-position"])
    assert in_list == shown
    hold = poor.transaction(problem["transaction_id"]).json()
    assert hold["rejection"] == rejection | {"pointer": "/entries/0"}
    # Operators see that it was refused, and nothing about the account.
    with keys.client("operator", ledgers=["*"]) as operator:
        told = operator.get(f"{poor.path}/payouts/{shown['id']}").json()
        bare = {"code": "insufficient_funds", "detail": InsufficientFunds.explanation()}
        assert told["rejection"] == bare
        assert told["history"][0]["detail"] == bare["detail"]
        query = {"min_position": answer.headers["ledger-position"], "order": "desc"}
        (told_in_list, *_) = operator.get(f"{poor.path}/payouts", params=query).json()["data"]
        assert told_in_list == told
        trace = operator.get(f"{poor.path}/operations/k/trace").text
        assert "shortfall" not in trace and " available" not in trace.replace("an account's available", "")
    with keys.client("auditor", ledgers=[poor.name]) as auditor:
        assert auditor.get(f"{poor.path}/payouts/{shown['id']}").json() == shown


def test_whoever_may_not_read_accounts_is_told_nothing_of_one_in_a_trace(poor: Book, keys: Keys) -> None:
    poor.transfer("poor", "b", 10, "k")
    path = f"{poor.path}/operations/k/trace"
    assert poor.client.get(path).json()["operations"][0]["problem"]["shortfall"] == 10
    with keys.client("operator", ledgers=["*"]) as operator:
        (made,) = operator.get(path).json()["operations"]
    assert named_in(made["problem"]) == {}
    assert made["problem"]["detail"] == InsufficientFunds.explanation()


Asked = tuple[str, Any]


def one_of_each(book: Book) -> dict[str, httpx2.Response]:
    """A refusal of each code that names something, by code."""
    client, path = book.client, book.path
    for address, limits in (("poor", {"min_balance": 0}), ("full", {"max_balance": 0})):
        book.open(address, **limits)
    for address in ("frozen", "closed", "busy"):
        book.open(address)
    book.transfer("a", "busy", 7)
    book.change("freeze", "frozen")
    book.change("close", "closed")
    hold, settled = book.hold("a", "b", 10).json(), book.hold("a", "b", 10).json()
    book.settle(settled["id"])
    posted, whole = book.transfer("a", "b", 10).json(), book.transfer("a", "b", 10).json()
    book.reverse(whole["id"])
    lopsided = transfer_body("a", "b", 10)
    lopsided["entries"][1]["amount"] = 9
    missing = "4f1d3c5e-0f4a-5b8e-8a44-2c7d1f0b9e61"
    opening = {"address": "a", "asset": "USD/2", "normal_side": "debit"}
    scaled = {"address": "new", "asset": "USD/3", "normal_side": "debit"}
    book.transfer("a", "b", 2**53 - 100)
    answers = [
        client.get("/v1/ledgers/nowhere"),
        book.transfer("a", "nobody", 1),
        book.transaction(missing),
        client.get(f"{path}/payouts/{missing}"),
        book.operation("unknown"),
        client.get("/v1/projections/nothing"),
        client.get(f"/v1/dead-letters/{missing}"),
        client.get(f"/v1/webhooks/{missing}"),
        client.post("/v1/ledgers", json={"name": book.name, "metadata": {"k": "v"}}),
        client.post(f"{path}/accounts", json=opening),
        client.post(f"{path}/accounts", json=scaled),
        client.patch(f"{path}/accounts/a", json={}, headers={"If-Match": '"999"'}),
        book.change("close", "busy"),
        book.transfer("frozen", "b", 1),
        book.transfer("closed", "b", 1),
        book.transfer("poor", "b", 1),
        book.transfer("b", "full", 1),
        book.transfer("a", "b", 1_000),
        book.post(lopsided),
        book.void(settled["id"]),
        book.settle(hold["id"], {"amount": 11}),
        book.reverse(posted["id"], {"amount": 11}),
        book.reverse(whole["id"]),
    ]
    return {answer.json()["code"]: answer for answer in answers}


def test_every_refusal_names_what_its_example_shows(book: Book) -> None:
    answers = one_of_each(book)
    assert len(answers) == 23
    for code, answer in answers.items():
        shown = answer.json()
        example = example_for_page(code)
        if code == "account_exists":
            del example["transaction_id"]  # recorded for a payout, but not for an opening
        assert shown.keys() == example.keys(), code
        assert all(type(shown[name]) is type(example[name]) for name in example), code


def test_numbers_are_exact_in_every_client_and_explain_each_other(book: Book) -> None:
    answers = {code: answer.json() for code, answer in one_of_each(book).items()}
    funds = answers["insufficient_funds"]
    assert funds["shortfall"] == funds["requested"] - (funds["available"] - funds["min_balance"]) == 1
    limit = answers["balance_limit_exceeded"]
    reached = limit["balance"] + limit["pending_inflow"] + limit["requested"]
    assert limit["excess"] == reached - limit["max_balance"] == 1
    over = answers["amount_overflow"]
    assert over["excess"] == over["total"] + over["requested"] - over["max_total"]
    assert answers["unbalanced_transaction"]["imbalances"] == [
        {"asset": "USD/2", "debits": "10", "credits": "9"}
    ]
    for shown in answers.values():
        for value in shown.values():
            assert not isinstance(value, int) or abs(value) < 2**53


@pytest.mark.parametrize("path", ["accounts/a b", "accounts/%3Cscript%3E", "transactions/nonsense"])
def test_what_is_ill_formed_is_not_echoed(book: Book, path: str) -> None:
    answer = book.client.get(f"{book.path}/{path}")
    assert answer.status_code == 404
    assert named_in(answer.json()) == {}
