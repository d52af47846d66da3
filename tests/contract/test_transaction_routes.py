"""Transactions over HTTP: posting, refusals, the confirmation read (api/README.md, Transactions)."""

from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import pytest

from tests.contract.answers import code_of, named_in, pointers_of
from tests.contract.books import Book, transfer_body

MAX = 2**53 - 1


def test_a_transaction_is_posted_and_answered_as_the_contract_shows_it(book: Book) -> None:
    key = uuid4().hex
    body = {**transfer_body("a", "b", 1050), "reference": "order-1", "metadata": {"customer": "42"}}
    answer = book.post(body, key, **{"Correlation-Id": "a-conversation"})
    assert answer.status_code == 201
    shown = answer.json()
    assert shown == {
        "id": str(uuid5(NAMESPACE_URL, f"tallystick:{book.name}/{key}")),
        "ledger": book.name,
        "kind": "posting",
        "status": "posted",
        "entries": body["entries"],
        "reference": "order-1",
        "description": "",
        "metadata": {"customer": "42"},
        "effective_at": shown["recorded_at"],
        "recorded_at": shown["recorded_at"],
        "expires_at": None,
        "idempotency_key": key,
        "correlation_id": "a-conversation",
        "actor": "bootstrap",
        "related": {
            "settles": None,
            "voids": None,
            "reverses": None,
            "settled_by": None,
            "voided_by": None,
            "reversed_by": [],
        },
        "rejection": None,
        "version": 1,
        "position": int(answer.headers["ledger-position"]),
    }
    assert answer.headers["etag"] == '"1"'
    read = book.client.get(answer.headers["location"])
    assert (read.status_code, read.json()) == (200, shown)
    assert int(read.headers["ledger-position"]) >= shown["position"]


def test_its_position_covers_those_of_the_accounts(book: Book) -> None:
    posted = book.transfer("a", "b", 1).json()
    assert book.account("a").json()["position"] < posted["position"]
    assert book.account("b").json()["position"] < posted["position"]


def test_an_effective_time_is_shown_in_utc_with_microseconds(book: Book) -> None:
    posted = book.transfer("a", "b", 1, effective_at="2026-11-23T20:00:00+01:00").json()
    assert posted["effective_at"] == "2026-11-23T19:00:00.000000Z"


def test_one_account_may_appear_more_than_once_and_several_assets_balance_each(book: Book) -> None:
    book.open("x", asset="BTC/8")
    book.open("y", asset="BTC/8")
    entries = [
        {"account": "a", "direction": "debit", "amount": 3},
        {"account": "a", "direction": "debit", "amount": 4},
        {"account": "b", "direction": "credit", "amount": 7},
        {"account": "x", "direction": "credit", "amount": 5},
        {"account": "y", "direction": "debit", "amount": 5},
    ]
    assert book.post({"entries": entries}).status_code == 201
    assert book.account("a").json()["posted"] == {"debits": 7, "credits": 0}
    entries[-1]["amount"] = 6
    assert code_of(book.post({"entries": entries})) == "unbalanced_transaction"


REFUSED_SHAPES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("an amount in quotes", transfer_body(amount="1"), ["/entries/0/amount", "/entries/1/amount"]),
    ("a fraction", transfer_body(amount=1.0), ["/entries/0/amount", "/entries/1/amount"]),
    ("a boolean", transfer_body(amount=True), ["/entries/0/amount", "/entries/1/amount"]),
    ("null", transfer_body(amount=None), ["/entries/0/amount", "/entries/1/amount"]),
    ("zero", transfer_body(amount=0), ["/entries/0/amount", "/entries/1/amount"]),
    ("less than zero", transfer_body(amount=-1), ["/entries/0/amount", "/entries/1/amount"]),
    ("more than is exact", transfer_body(amount=MAX + 1), ["/entries/0/amount", "/entries/1/amount"]),
    ("beyond any integer", transfer_body(amount=10**300), ["/entries/0/amount", "/entries/1/amount"]),
    ("an unknown member", {**transfer_body(), "amout": 1}, ["/amout"]),
    ("an escaped unknown member", {**transfer_body(), "a/b~c": 1}, ["/a~1b~0c"]),
    ("no entries", {}, ["/entries"]),
    ("one entry", {"entries": transfer_body()["entries"][:1]}, ["/entries"]),
    ("too many entries", {"entries": transfer_body()["entries"] * 501}, ["/entries"]),
    ("an ill-formed address", transfer_body("a b"), ["/entries/0/account"]),
    ("an address of too many segments", transfer_body(":".join("abcdefghijk")), ["/entries/0/account"]),
    ("an address that is too long", transfer_body(":".join(["x" * 64] * 4)), ["/entries/0/account"]),
    ("an address with a line break", transfer_body("a\n"), ["/entries/0/account"]),
    ("a time without zone", {**transfer_body(), "effective_at": "2026-11-23T20:00:00"}, ["/effective_at"]),
    ("a time of no day", {**transfer_body(), "effective_at": "2026-02-30T20:00:00Z"}, ["/effective_at"]),
    (
        "a time too fine",
        {**transfer_body(), "effective_at": "2026-11-23T20:00:00.0000001Z"},
        ["/effective_at"],
    ),
    (
        "a time before all",
        {**transfer_body(), "effective_at": "0001-01-01T00:00:00+01:00"},
        ["/effective_at"],
    ),
    ("a number for a time", {**transfer_body(), "effective_at": 1}, ["/effective_at"]),
    ("a long reference", {**transfer_body(), "reference": "x" * 256}, ["/reference"]),
    ("a long description", {**transfer_body(), "description": "x" * 1001}, ["/description"]),
    ("no text", {**transfer_body(), "reference": None}, ["/reference"]),
    ("metadata that is no text", {**transfer_body(), "metadata": {"n": 1}}, ["/metadata/n"]),
    ("metadata with a bad name", {**transfer_body(), "metadata": {"a b": "1"}}, ["/metadata/a b"]),
    ("a long metadata value", {**transfer_body(), "metadata": {"n": "x" * 513}}, ["/metadata/n"]),
    ("much metadata", {**transfer_body(), "metadata": {str(n): "" for n in range(51)}}, ["/metadata"]),
    ("a number for a boolean", {**transfer_body(), "pending": 0}, ["/pending"]),
    ("an expiry", {**transfer_body(), "expires_at": "2030-01-01T00:00:00Z"}, ["/expires_at"]),
    (
        "a direction that is none",
        {"entries": [{"account": "a", "direction": "up", "amount": 1}] * 2},
        [
            "/entries/0/direction",
            "/entries/1/direction",
        ],
    ),
]


@pytest.mark.parametrize(
    ("body", "pointers"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED_SHAPES]
)
def test_a_wrong_shape_is_pointed_at_and_nothing_is_kept(
    book: Book, body: dict[str, Any], pointers: list[str]
) -> None:
    answer = book.post(body, "the-key")
    assert pointers_of(answer) == pointers
    assert code_of(book.client.get(f"{book.path}/operations/the-key")) == "operation_unknown"


def test_values_are_not_echoed(book: Book) -> None:
    answer = book.post({**transfer_body(), "reference": "a secret" * 40, "metadata": {"n": "a secret" * 80}})
    assert answer.status_code == 422
    assert "secret" not in answer.text


def test_the_greatest_amount_is_exact(book: Book) -> None:
    assert book.transfer("a", "b", MAX).status_code == 201
    assert book.account("b").json()["balance"] == MAX
    assert code_of(book.transfer("a", "b", 1)) == "amount_overflow"


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"min_balance": 0}, "insufficient_funds"),
        ({"max_balance": 5, "normal_side": "debit"}, "balance_limit_exceeded"),
    ],
)
def test_a_rule_refuses_and_the_refusal_is_recorded(book: Book, limits: dict[str, Any], code: str) -> None:
    book.open("limited", **limits)
    answer = book.transfer("limited", "b", 10)
    assert (answer.status_code, code_of(answer)) == (409, code)
    problem = answer.json()
    rejected = book.client.get(f"{book.path}/transactions/{problem['transaction_id']}").json()
    assert rejected["status"] == "rejected"
    assert rejected["rejection"] == {"code": code, "detail": problem["detail"], **named_in(problem)}
    assert rejected["position"] == int(answer.headers["ledger-position"])
    assert book.account("limited").json()["balance"] == 0


@pytest.mark.parametrize("debited", ["nobody", "b:nobody"])
def test_an_account_that_is_not_there(book: Book, debited: str) -> None:
    answer = book.transfer(debited, "b", 10)
    assert (answer.status_code, code_of(answer)) == (404, "account_not_found")


@pytest.mark.parametrize(
    "id", ["3b4ff25d-7aa8-48d9-9596-9676cc9b35fa", "nonsense", "%2F", "%00", "a%2Fb", "x" * 3000]
)
def test_a_transaction_that_is_not_there(book: Book, id: str) -> None:
    answer = book.client.get(f"{book.path}/transactions/{id}")
    assert (answer.status_code, code_of(answer)) == (404, "transaction_not_found")


def test_a_transaction_known_already_is_not_sent_again(book: Book) -> None:
    posted = book.transfer("a", "b", 1)
    read = book.client.get(posted.headers["location"], headers={"If-None-Match": posted.headers["etag"]})
    assert (read.status_code, read.content) == (304, b"")


def test_each_asset_balances_or_nothing_is_recorded(book: Book) -> None:
    body = transfer_body("a", "b", 10)
    body["entries"][0]["amount"] = 11
    answer = book.post(body, "unbalanced")
    assert (answer.status_code, code_of(answer)) == (422, "unbalanced_transaction")
    assert book.transfer("a", "b", 10, "unbalanced").status_code == 201, "its key stayed free"


def test_the_longest_of_everything(book: Book) -> None:
    deep, long = ":".join(["x"] * 10), ":".join(["x" * 64, "y" * 64, "z" * 64, "w" * 60])
    assert len(long) == 255
    book.open(deep)
    book.open(long)
    sides = [{"account": deep, "direction": "debit", "amount": 1}] * 500
    sides += [{"account": long, "direction": "credit", "amount": 1}] * 500
    said = {
        "reference": "r" * 255,
        "description": "d" * 1000,
        "metadata": {"k" * 62 + str(number): "v" * 512 for number in range(10, 60)},
    }
    shown = book.post({"entries": sides, **said}).json()
    assert shown.items() >= said.items()
    assert shown["entries"] == sides
    assert book.account(long).json()["balance"] == 500


def test_the_net_change_by_the_whole_transaction_is_judged(book: Book) -> None:
    book.open("poor", min_balance=0, max_balance=0)
    through = [*transfer_body("poor", "b", 10)["entries"], *transfer_body("a", "poor", 10)["entries"]]
    assert book.post({"entries": through}).status_code == 201
    assert book.account("poor").json()["posted"] == {"debits": 10, "credits": 10}


def test_what_takes_effect_later_counts_at_once(book: Book) -> None:
    assert book.transfer("a", "b", 10, effective_at="2126-01-01T00:00:00Z").status_code == 201
    assert book.account("b").json()["balance"] == 10


@pytest.mark.parametrize("verb", ["settle", "void", "reverse"])
def test_methods_that_the_paths_do_not_have(book: Book, verb: str) -> None:
    answer = book.client.get(f"{book.path}/transactions/x/{verb}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert code_of(book.client.put(f"{book.path}/transactions/batch", json={})) == "method_not_allowed"
    assert code_of(book.client.post(f"{book.path}/transactions/x/expire", json={})) == "not_found"


def test_what_is_pending_is_shown_by_the_projection_and_in_the_past(book: Book) -> None:
    hold = book.hold("a", "b", 10)
    held = book.account("a").json()
    settled = book.settle(hold.json()["id"], {"amount": 4})
    frozen = book.change("freeze", "a")
    for position, shown in (
        (hold.headers["ledger-position"], held),
        (settled.headers["ledger-position"], None),
        (frozen.headers["ledger-position"], frozen.json()),
    ):
        then = book.account("a", params={"at_position": position}).json()
        assert shown is None or then == shown
    options = {"consistency": "eventual", "min_position": frozen.headers["ledger-position"]}
    assert book.account("a", params=options).json() == frozen.json()
    assert held["pending"] == {"debits": 10, "credits": 0}
