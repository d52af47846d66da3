"""Holds over HTTP: made, settled in whole or in part, voided, expired."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.contract.answers import code_of, named_in, pointers_of
from tests.contract.bodies import SPLIT, UNRELATED, parts
from tests.contract.books import Book, transfer_body
from tests.contract.journals import Journal, await_time, soon
from tests.contract.serving import Served
from tests.projecting import eventually

MAX = 2**53 - 1
FAR = "2126-01-01T00:00:00.000000Z"


def test_a_hold_is_pending_and_answered_as_the_contract_shows_it(book: Book) -> None:
    answer = book.hold("a", "b", 10, "k", expires_at=FAR, reference="order-1")
    assert answer.status_code == 201
    shown = answer.json()
    assert shown == {
        "id": book.id_of("k"),
        "ledger": book.name,
        "kind": "hold",
        "status": "pending",
        "entries": transfer_body()["entries"],
        "reference": "order-1",
        "description": "",
        "metadata": {},
        "effective_at": shown["recorded_at"],
        "recorded_at": shown["recorded_at"],
        "expires_at": FAR,
        "idempotency_key": "k",
        "correlation_id": answer.headers["correlation-id"],
        "actor": "bootstrap",
        "related": UNRELATED,
        "rejection": None,
        "version": 1,
        "position": int(answer.headers["ledger-position"]),
    }
    assert book.client.get(answer.headers["location"]).json() == shown
    assert book.amounts("a") == (0, 0, 10, 0)
    assert book.amounts("b") == (0, 0, 0, 10)


@pytest.mark.parametrize("expiry", [{}, {"expires_at": None}])
def test_a_hold_need_not_expire(book: Book, expiry: dict[str, Any]) -> None:
    assert book.hold("a", "b", 10, **expiry).json()["expires_at"] is None


def test_what_is_pending_against_an_account_is_not_available(book: Book) -> None:
    book.open("assets", normal_side="debit")
    book.hold("a", "assets", 10)
    book.hold("assets", "b", 4)
    for address, available in (("a", -10), ("assets", -10), ("b", 0)):
        shown = book.account(address).json()
        assert (shown["balance"], shown["available"]) == (0, available)


def test_limits_are_judged_with_what_is_pending(book: Book) -> None:
    book.open("limited", min_balance=0, max_balance=10)
    book.transfer("a", "limited", 6)
    assert book.hold("limited", "b", 4).status_code == 201
    assert code_of(book.transfer("limited", "b", 3)) == "insufficient_funds"
    assert code_of(book.hold("limited", "b", 3)) == "insufficient_funds"
    assert book.hold("a", "limited", 4).status_code == 201
    assert code_of(book.transfer("a", "limited", 1)) == "balance_limit_exceeded"
    assert code_of(book.hold("a", "limited", 1)) == "balance_limit_exceeded"
    assert book.transfer("limited", "b", 2).status_code == 201


def test_totals_count_what_is_pending(book: Book) -> None:
    assert book.hold("a", "b", MAX).status_code == 201
    assert code_of(book.hold("a", "b", 1)) == "amount_overflow"
    assert code_of(book.transfer("a", "b", 1)) == "amount_overflow"


@pytest.mark.parametrize(
    ("body", "posted"),
    [
        ({}, (10, 7, 3)),
        (SPLIT, (10, 7, 3)),
        (parts(("a", "debit", 5), ("b", "credit", 5)), (5, 5, 0)),
        (parts(("a", "debit", 1), ("a", "debit", 3), ("c", "credit", 3), ("b", "credit", 1)), (4, 1, 3)),
    ],
    ids=["all", "all, named", "of two accounts", "in more entries"],
)
def test_a_settlement_posts_and_releases_the_rest(
    book: Book, body: dict[str, Any], posted: tuple[int, int, int]
) -> None:
    book.open("c")
    hold = book.post({**SPLIT, "pending": True}).json()
    answer = book.settle(hold["id"], body, "s")
    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["kind"], shown["status"], shown["id"]) == ("settlement", "posted", book.id_of("s"))
    assert shown["entries"] == body.get("entries", SPLIT["entries"])
    assert shown["related"] == {**UNRELATED, "settles": hold["id"]}
    assert (shown["effective_at"], shown["expires_at"]) == (shown["recorded_at"], None)
    assert shown["position"] == int(answer.headers["ledger-position"])
    assert book.client.get(answer.headers["location"]).json() == shown
    assert book.amounts("a") == (posted[0], 0, 0, 0)
    assert book.amounts("b") == (0, posted[1], 0, 0)
    assert book.amounts("c") == (0, posted[2], 0, 0)
    now = book.transaction(hold["id"])
    assert now.json() == {
        **hold,
        "status": "settled",
        "related": {**UNRELATED, "settled_by": shown["id"]},
        "version": 2,
        "position": shown["position"] - 1,
    }
    assert now.headers["etag"] == '"2"'


def test_an_amount_of_a_hold_of_two_entries_is_settled(book: Book) -> None:
    hold = book.hold("a", "b", 10).json()
    assert book.settle(hold["id"], {"amount": 4}).json()["entries"] == transfer_body("a", "b", 4)["entries"]
    assert (book.amounts("a"), book.amounts("b")) == ((4, 0, 0, 0), (0, 4, 0, 0))


def test_a_settlement_is_not_judged_by_limits_again(book: Book) -> None:
    hold = book.hold("a", "b", 10).json()
    book.client.patch(f"{book.path}/accounts/a", json={"min_balance": 0})
    book.client.patch(f"{book.path}/accounts/b", json={"max_balance": 0})
    assert book.settle(hold["id"]).status_code == 201


def test_holds_appear_in_the_statement_when_settled(book: Book) -> None:
    hold = book.hold("a", "b", 10)
    path = f"{book.path}/accounts/a/entries?min_position="
    assert book.client.get(path + hold.headers["ledger-position"]).json()["data"] == []
    settled = book.settle(hold.json()["id"], {"amount": 6, "reference": "r"})
    (entry,) = book.client.get(path + settled.headers["ledger-position"]).json()["data"]
    assert (entry["transaction_id"], entry["kind"]) == (settled.json()["id"], "settlement")
    assert (entry["amount"], entry["balance_after"], entry["reference"]) == (6, -6, "r")


def test_a_void_releases(book: Book) -> None:
    hold = book.hold("a", "b", 10).json()
    answer = book.void(hold["id"], {}, "v")
    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["kind"], shown["status"], shown["id"]) == ("void", "posted", book.id_of("v"))
    assert shown["entries"] == hold["entries"]
    assert shown["related"] == {**UNRELATED, "voids": hold["id"]}
    assert book.client.get(answer.headers["location"]).json() == shown
    assert (book.amounts("a"), book.amounts("b")) == ((0, 0, 0, 0), (0, 0, 0, 0))
    now = book.transaction(hold["id"]).json()
    assert (now["status"], now["related"]["voided_by"], now["version"]) == ("voided", shown["id"], 2)


@pytest.mark.parametrize("verb", ["settle", "void", "reverse"])
def test_they_describe_themselves(book: Book, verb: str) -> None:
    made = (book.transfer if verb == "reverse" else book.hold)("a", "b", 10, reference="first").json()
    said = {"reference": "r", "description": "d", "metadata": {"k": "v"}}
    assert book.act(verb, made["id"], said).json().items() >= said.items()


@pytest.mark.parametrize("first", ["settle", "void"])
@pytest.mark.parametrize("second", ["settle", "void"])
def test_a_hold_is_settled_or_voided_once(book: Book, first: str, second: str) -> None:
    hold = book.hold("a", "b", 10, expires_at=FAR).json()
    assert book.act(first, hold["id"]).status_code == 201
    answer = book.act(second, hold["id"], {}, "again")
    assert (answer.status_code, code_of(answer)) == (409, "hold_not_pending")
    rejected = book.transaction(answer.json()["transaction_id"]).json()
    assert (rejected["id"], rejected["status"]) == (book.id_of("again"), "rejected")
    assert rejected["kind"] == {"settle": "settlement", "void": "void"}[second]
    assert rejected["rejection"] == {
        "code": "hold_not_pending",
        "detail": answer.json()["detail"],
        **named_in(answer.json()),
    }
    assert rejected["position"] == int(answer.headers["ledger-position"])


@pytest.mark.parametrize("verb", ["settle", "void"])
def test_only_holds_are_settled_and_voided(book: Book, verb: str) -> None:
    posted = book.transfer("a", "b", 10).json()
    hold = book.hold("a", "b", 10).json()
    voided = book.void(hold["id"]).json()
    for id in (posted["id"], voided["id"]):
        assert code_of(book.act(verb, id)) == "hold_not_pending"


@pytest.mark.parametrize("verb", ["settle", "void", "reverse"])
@pytest.mark.parametrize("id", ["3b4ff25d-7aa8-48d9-9596-9676cc9b35fa", "nonsense", "%2F", "%00", "x" * 3000])
def test_a_transaction_that_is_not_there(book: Book, verb: str, id: str) -> None:
    answer = book.act(verb, id, {}, "k")
    assert (answer.status_code, code_of(answer)) == (404, "transaction_not_found")
    assert code_of(book.operation("k")) == "operation_unknown"


def test_a_hold_of_another_ledger_is_not_there(book: Book) -> None:
    other = Book(book.client, book.name + "-other")
    book.client.post("/v1/ledgers", json={"name": other.name})
    hold = book.hold("a", "b", 10).json()
    assert code_of(other.void(hold["id"])) == "transaction_not_found"


WRONG: list[tuple[str, str, Any, list[str]]] = [
    ("an amount of three entries", "settle", {"amount": 5}, ["/amount"]),
    ("an amount of three entries, reversed", "reverse", {"amount": 5}, ["/amount"]),
    ("amount and entries", "settle", {**SPLIT, "amount": 5}, ["/amount"]),
    ("another account", "settle", parts(("a", "debit", 5), ("d", "credit", 5)), ["/entries/1"]),
    ("no such account", "settle", parts(("nobody", "debit", 5), ("b", "credit", 5)), ["/entries/0"]),
    ("another side", "settle", parts(("b", "debit", 5), ("a", "credit", 5)), ["/entries/0"]),
    ("one entry", "settle", parts(("a", "debit", 5)), ["/entries"]),
    ("no entries", "settle", {"entries": []}, ["/entries"]),
    ("an amount in quotes", "settle", {"amount": "5"}, ["/amount"]),
    ("a fraction", "settle", {"amount": 5.0}, ["/amount"]),
    ("a boolean", "reverse", {"amount": True}, ["/amount"]),
    ("zero", "settle", {"amount": 0}, ["/amount"]),
    ("too much to be exact", "reverse", {"amount": MAX + 1}, ["/amount"]),
    ("an amount of a void", "void", {"amount": 5}, ["/amount"]),
    ("entries of a void", "void", SPLIT, ["/entries"]),
    ("entries of a reversal", "reverse", SPLIT, ["/entries"]),
    ("when a settlement is effective", "settle", {"effective_at": FAR}, ["/effective_at"]),
    ("when a void is effective", "void", {"effective_at": FAR}, ["/effective_at"]),
    ("an expiry", "settle", {"expires_at": FAR}, ["/expires_at"]),
    ("a long reference", "void", {"reference": "x" * 256}, ["/reference"]),
    ("metadata of numbers", "reverse", {"metadata": {"n": 1}}, ["/metadata/n"]),
    ("no object", "void", [1], [""]),
    (
        "a float in an entry",
        "settle",
        parts(("a", "debit", 1), ("b", "credit", 1.0)),  # type: ignore[arg-type]
        ["/entries/1/amount"],
    ),
]


@pytest.mark.parametrize(
    ("verb", "body", "pointers"), [pytest.param(*case[1:], id=case[0]) for case in WRONG]
)
def test_a_wrong_shape_is_pointed_at_and_nothing_is_kept(
    book: Book, verb: str, body: Any, pointers: list[str]
) -> None:
    book.open("c")
    book.open("d")
    named = book.post({**SPLIT, "pending": verb != "reverse"}).json()
    answer = book.act(verb, named["id"], body, "k")
    assert code_of(answer) == "invalid_request"
    assert pointers_of(answer) == pointers
    assert code_of(book.operation("k")) == "operation_unknown"
    assert book.transaction(named["id"]).json() == named
    if verb != "reverse":
        assert book.void(named["id"], {}, "k").status_code == 201, "its key stayed free"


def test_parts_balance(book: Book) -> None:
    hold = book.hold("a", "b", 10).json()
    answer = book.settle(hold["id"], parts(("a", "debit", 50), ("b", "credit", 4)), "k")
    assert (answer.status_code, code_of(answer)) == (422, "unbalanced_transaction")
    assert book.settle(hold["id"], {}, "k").status_code == 201, "its key stayed free"


@pytest.mark.parametrize("body", [{"amount": 11}, parts(("a", "debit", 11), ("b", "credit", 11))])
def test_no_more_than_is_held_is_settled(book: Book, body: dict[str, Any]) -> None:
    hold = book.hold("a", "b", 10).json()
    answer = book.settle(hold["id"], body)
    assert (answer.status_code, code_of(answer)) == (409, "amount_exceeds_hold")
    assert book.settle(hold["id"]).status_code == 201


def test_each_part_is_held(book: Book) -> None:
    book.open("c")
    hold = book.post({**SPLIT, "pending": True}).json()
    body = parts(("a", "debit", 10), ("b", "credit", 6), ("c", "credit", 4))
    assert code_of(book.settle(hold["id"], body)) == "amount_exceeds_hold"


@pytest.mark.parametrize("verb", ["settle", "void", "reverse"])
@pytest.mark.parametrize("key", [None, "a b", "a/b"])
def test_they_need_a_key(book: Book, verb: str, key: str | None) -> None:
    hold = book.hold("a", "b", 10).json()
    headers = {"Idempotency-Key": key} if key else {}
    answer = book.client.post(f"{book.path}/transactions/{hold['id']}/{verb}", json={"x": 1}, headers=headers)
    assert answer.status_code == 400
    assert code_of(answer) == f"idempotency_key_{'invalid' if key else 'missing'}"


def test_path_and_body_belong_to_the_request_of_a_key(book: Book) -> None:
    first, second = book.hold("a", "b", 10).json(), book.hold("a", "b", 10).json()
    assert book.settle(first["id"], {}, "k").status_code == 201
    for answer in (
        book.settle(second["id"], {}, "k"),
        book.void(first["id"], {}, "k"),
        book.settle(first["id"], {"amount": 10}, "k"),
        book.settle("nonsense", {}, "k"),
        book.transfer("a", "b", 10, "k"),
    ):
        assert (answer.status_code, code_of(answer)) == (422, "idempotency_key_reused")
    assert book.transaction(second["id"]).json()["status"] == "pending"


def test_replays_are_answered_whatever_has_happened_since(book: Book) -> None:
    hold = book.hold("a", "b", 10, "h")
    early = book.settle(hold.json()["id"], {"amount": 11}, "early")
    settled = book.settle(hold.json()["id"], {}, "s")
    late = book.void(hold.json()["id"], {}, "late")
    for address in ("a", "b"):
        assert book.change("freeze", address).status_code == 200
    for first, again in (
        (hold, book.hold("a", "b", 10, "h")),
        (early, book.settle(hold.json()["id"], {"amount": 11}, "early")),
        (settled, book.settle(hold.json()["id"], {}, "s")),
        (late, book.void(hold.json()["id"], {}, "late")),
    ):
        assert again.content == first.content
        assert (again.status_code, again.headers["idempotent-replayed"]) == (first.status_code, "true")
        assert again.headers["ledger-position"] == first.headers["ledger-position"]


@pytest.mark.parametrize("expires_at", ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00+00:00"])
def test_a_hold_is_not_made_to_have_expired(book: Book, expires_at: str) -> None:
    assert pointers_of(book.hold("a", "b", 10, "k", expires_at=expires_at)) == ["/expires_at"]
    assert pointers_of(book.hold("a", "nobody", 10, "k", expires_at=expires_at)) == ["/expires_at"]
    assert book.hold("a", "b", 10, "k").status_code == 201, "its key stayed free"


def test_only_holds_expire(book: Book) -> None:
    assert pointers_of(book.transfer("a", "b", 10, expires_at=FAR)) == ["/expires_at"]
    assert pointers_of(book.transfer("a", "b", 10, expires_at=FAR, pending=False)) == ["/expires_at"]


def test_a_hold_is_released_when_its_time_is_over(book: Book, journal: Journal) -> None:
    hold = book.hold("a", "b", 10, "h", expires_at=soon())
    before = int(hold.headers["ledger-position"])
    path = hold.headers["location"]
    eventually(lambda: book.client.get(path).json()["status"] == "expired")
    assert (book.amounts("a"), book.amounts("b")) == ((0, 0, 0, 0), (0, 0, 0, 0))
    shown = book.client.get(path).json()
    released, also, own = (event for event in journal.after(before) if event["ledger"] == book.name)
    assert {released["type"], also["type"]} == {"account.entries_released"}
    assert (own["type"], own["position"]) == ("transaction.hold_expired", shown["position"])
    assert own["recorded_at"].isoformat(timespec="microseconds") >= shown["expires_at"][:-1]
    assert {event["correlation_id"] for event in (released, also, own)} == {shown["correlation_id"]}
    assert {event["actor"] for event in (released, also, own)} == {"tallystick"}
    assert shown["related"] == UNRELATED
    for verb in ("settle", "void"):
        answer = book.act(verb, shown["id"])
        assert (answer.status_code, code_of(answer)) == (409, "hold_expired")
    again = book.hold("a", "b", 10, "h", expires_at=shown["expires_at"])
    assert (again.status_code, again.content) == (201, hold.content)
    assert again.headers["idempotent-replayed"] == "true"


def test_from_that_moment_on_it_has_expired_released_or_not(book: Book, nothing_due: Journal) -> None:
    expires_at = soon(6.0)
    kept, settled, voided = (book.hold("a", "b", n, expires_at=expires_at).json() for n in (1, 2, 3))
    assert book.settle(settled["id"]).status_code == 201
    assert book.void(voided["id"]).status_code == 201
    await_time(expires_at)
    for verb in ("settle", "void"):
        refused = book.act(verb, kept["id"], {}, verb)
        assert (refused.status_code, code_of(refused)) == (409, "hold_expired")
        for ended in (settled, voided):
            assert code_of(book.act(verb, ended["id"])) == "hold_not_pending"
    assert book.transaction(kept["id"]).json()["status"] == "pending"
    assert book.amounts("a") == (2, 0, 1, 0)
    nothing_due.resume("due")
    eventually(lambda: book.transaction(kept["id"]).json()["status"] == "expired")
    assert book.amounts("a") == (2, 0, 0, 0)
    assert book.settle(kept["id"], {}, "settle").headers["idempotent-replayed"] == "true"
    assert code_of(book.settle(kept["id"])) == "hold_expired"


def test_a_frozen_account_lets_voids_and_expiries_pass(book: Book) -> None:
    voided, settled = book.hold("a", "b", 1).json(), book.hold("a", "b", 2).json()
    expiring = book.hold("a", "b", 4, expires_at=soon()).json()
    assert book.change("freeze", "b").status_code == 200
    refused = book.settle(settled["id"], {}, "s")
    assert (refused.status_code, code_of(refused)) == (409, "account_frozen")
    assert book.void(voided["id"]).status_code == 201
    eventually(lambda: book.transaction(expiring["id"]).json()["status"] == "expired")
    assert book.amounts("b") == (0, 0, 0, 2)
    assert book.change("unfreeze", "b").status_code == 200
    again = book.settle(settled["id"], {}, "s")
    assert (again.content, again.headers["idempotent-replayed"]) == (refused.content, "true")
    assert book.settle(settled["id"]).status_code == 201


def test_of_several_refusals_of_a_settlement_the_first_of_the_table_is_given(
    book: Book, nothing_due: Journal
) -> None:
    pending, ended = book.hold("a", "b", 1).json(), book.hold("a", "b", 1).json()
    expired = book.hold("a", "b", 1, expires_at=soon()).json()
    book.void(ended["id"])
    book.change("freeze", "a")
    await_time(expired["expires_at"])
    too_much = {"amount": 5}
    assert code_of(book.settle(expired["id"], too_much)) == "hold_expired"
    assert code_of(book.settle(ended["id"], too_much)) == "hold_not_pending"
    assert code_of(book.settle(pending["id"], too_much)) == "account_frozen"
    book.change("unfreeze", "a")
    assert code_of(book.settle(pending["id"], too_much)) == "amount_exceeds_hold"
    nothing_due.resume("due")
    eventually(lambda: book.transaction(expired["id"]).json()["status"] == "expired")


def test_shape_ledger_key_name_and_balance_come_before_the_rules(book: Book) -> None:
    hold = book.hold("a", "b", 10).json()
    book.void(hold["id"], {}, "known")
    path = f"{book.path}/transactions/{hold['id']}/settle"
    unbalanced = parts(("a", "debit", 5), ("b", "credit", 4))
    nowhere = Book(book.client, "nowhere")
    assert pointers_of(nowhere.settle(hold["id"], {"amount": 0})) == ["/amount"]
    assert code_of(nowhere.settle(hold["id"], unbalanced, "known")) == "ledger_not_found"
    assert code_of(book.settle("nonsense", unbalanced, "known")) == "idempotency_key_reused"
    assert code_of(book.settle("nonsense", unbalanced)) == "transaction_not_found"
    assert code_of(book.settle(hold["id"], unbalanced)) == "unbalanced_transaction"
    assert code_of(book.client.post(path, content=b"{")) == "malformed_json"


def test_of_many_at_once_one_ends_the_hold(served: Served, book: Book) -> None:
    hold = book.hold("a", "b", 10).json()

    def end(number: int) -> httpx2.Response:
        with served.client() as client:
            return Book(client, book.name).act(("settle", "void")[number % 2], hold["id"], {}, f"k{number}")

    with ThreadPoolExecutor(8) as senders:
        answers = list(senders.map(end, range(16)))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 15]
    assert {code_of(answer) for answer in answers if answer.status_code == 409} == {"hold_not_pending"}
    (done,) = (answer.json() for answer in answers if answer.status_code == 201)
    related = book.transaction(hold["id"]).json()["related"]
    assert done["id"] in (related["settled_by"], related["voided_by"])
    assert book.amounts("a") == ((10 if done["kind"] == "settlement" else 0), 0, 0, 0)
