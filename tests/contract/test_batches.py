"""Batches over HTTP: keyed requests in order, all or none or each by itself, each answered like the single request."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.contract.answers import code_of, pointers_of
from tests.contract.bodies import SPLIT
from tests.contract.books import Book, transfer_body
from tests.contract.callers import Keys
from tests.contract.journals import Journal, soon
from tests.contract.serving import Served
from tests.projecting import eventually

MODES = ["atomic", "independent"]
FAR = "2126-01-01T00:00:00Z"


def post(key: str, debited: str = "a", credited: str = "b", amount: Any = 10, **more: Any) -> dict[str, Any]:
    """An item that posts."""
    return {"idempotency_key": key, **transfer_body(debited, credited, amount), **more}


def hold(key: str, amount: int = 10, **more: Any) -> dict[str, Any]:
    """An item that makes a hold."""
    return post(key, amount=amount, pending=True, **more)


def do(verb: str, key: str, id: str, **more: Any) -> dict[str, Any]:
    """An item that settles, voids or reverses."""
    return {"idempotency_key": key, verb: id, **more}


def results_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The results of a batch that was carried out."""
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    for result in results:
        assert result.keys() == {
            "status",
            "replayed",
            "transaction" if result["status"] == 201 else "problem",
        }
    return results


def codes(answer: httpx2.Response) -> list[int | str]:
    """The status or problem code of each item."""
    return [
        result["problem"]["code"] if "problem" in result else result["status"]
        for result in results_of(answer)
    ]


def one_of_each(book: Book) -> list[dict[str, Any]]:
    """A batch of every kind. Later items name what earlier ones make."""
    return [
        post("p", amount=3, reference="r"),
        hold("h", expires_at=FAR),
        do("settle", "s", book.id_of("h"), amount=4, description="d"),
        hold("g", 5),
        do("void", "v", book.id_of("g"), metadata={"k": "v"}),
        do("reverse", "r", book.id_of("s"), amount=1, effective_at="2026-01-01T00:00:00Z"),
        {"idempotency_key": "f", **transfer_body(amount=6), "pending": True},
        do("settle", "e", book.id_of("f"), entries=transfer_body(amount=2)["entries"]),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_is_carried_out_in_order_and_later_items_see_earlier_ones(
    book: Book, journal: Journal, mode: str
) -> None:
    before = journal.head()
    answer = book.batch(*one_of_each(book), mode=mode, headers={"Correlation-Id": "c"})
    results = results_of(answer)
    assert [(result["status"], result["replayed"]) for result in results] == [(201, False)] * 8
    made = [result["transaction"] for result in results]
    assert [shown["kind"] for shown in made] == [
        "posting",
        "hold",
        "settlement",
        "hold",
        "void",
        "reversal",
        "hold",
        "settlement",
    ]
    assert [shown["id"] for shown in made] == [book.id_of(key) for key in "phsgvrfe"]
    assert [shown["idempotency_key"] for shown in made] == list("phsgvrfe")
    assert made[1]["status"] == "pending", "as it was when it was made"
    assert book.transaction(made[1]["id"]).json()["status"] == "settled"
    assert [shown["position"] for shown in made] == sorted(shown["position"] for shown in made)
    assert answer.headers["ledger-position"] == str(made[-1]["position"]) == str(journal.head())
    assert "idempotent-replayed" not in answer.headers
    assert book.amounts("a") == (9, 1, 0, 0)
    events = journal.after(before)
    assert (
        {event["correlation_id"] for event in events} == {"c"} == {shown["correlation_id"] for shown in made}
    )
    assert {event["traceparent"] for event in events} == {answer.headers["traceparent"]}
    assert {event["idempotency_key"] for event in events} == set("phsgvrfe")


@pytest.mark.parametrize("mode", MODES)
def test_the_same_batch_again_is_a_replay(book: Book, journal: Journal, mode: str) -> None:
    first = book.batch(*one_of_each(book), mode=mode)
    book.transfer("a", "b", 1)
    head = journal.head()
    again = book.batch(*one_of_each(book), mode=mode)
    assert journal.head() == head
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["ledger-position"] == first.headers["ledger-position"]
    assert results_of(again) == [{**result, "replayed": True} for result in results_of(first)]


Single = Callable[[Book], httpx2.Response]
AS_SINGLE: list[Single] = [
    lambda book: book.transfer("a", "b", 3, "p", reference="r"),
    lambda book: book.hold("a", "b", 10, "h", expires_at=FAR),
    lambda book: book.settle(book.id_of("h"), {"description": "d", "amount": 4}, "s"),
    lambda book: book.hold("a", "b", 5, "g"),
    lambda book: book.void(book.id_of("g"), {"metadata": {"k": "v"}}, "v"),
    lambda book: book.reverse(book.id_of("s"), {"amount": 1, "effective_at": "2026-01-01T00:00:00Z"}, "r"),
    lambda book: book.hold("a", "b", 6, "f"),
    lambda book: book.settle(book.id_of("f"), {"entries": transfer_body(amount=2)["entries"]}, "e"),
]


@pytest.mark.parametrize("mode", MODES)
def test_the_single_form_replays_an_item_byte_for_byte(book: Book, mode: str) -> None:
    batch = book.batch(*one_of_each(book), mode=mode)
    for result, single in zip(results_of(batch), AS_SINGLE, strict=True):
        answer = single(book)
        assert (answer.status_code, answer.headers["idempotent-replayed"]) == (201, "true")
        assert answer.json() == result["transaction"]
        assert answer.content in batch.content
        assert answer.headers["ledger-position"] == str(result["transaction"]["position"])


@pytest.mark.parametrize("mode", MODES)
def test_an_item_replays_the_single_form_byte_for_byte(book: Book, mode: str) -> None:
    singles = [single(book) for single in AS_SINGLE]
    batch = book.batch(*one_of_each(book), mode=mode)
    assert batch.headers["idempotent-replayed"] == "true"
    assert batch.headers["ledger-position"] == singles[-1].headers["ledger-position"]
    for result, single in zip(results_of(batch), singles, strict=True):
        assert (result["status"], result["replayed"]) == (single.status_code, True)
        assert single.content in batch.content


def test_refusals_are_replayed_either_way(book: Book) -> None:
    book.open("poor", min_balance=0)
    batch = book.batch(post("k", "poor"), do("void", "v", book.id_of("k")))
    assert codes(batch) == ["insufficient_funds", "hold_not_pending"]
    assert "idempotent-replayed" not in batch.headers
    book.transfer("a", "poor", 100)
    singles = (book.transfer("poor", "b", 10, "k"), book.void(book.id_of("k"), {}, "v"))
    for index, (result, single) in enumerate(zip(results_of(batch), singles, strict=True)):
        assert (single.status_code, single.headers["idempotent-replayed"]) == (409, "true")
        assert single.json() | {"index": index} == result["problem"]
        assert single.content.removesuffix(b"}") in batch.content
    other = book.reverse(book.id_of("k"), {}, "r")
    again = book.batch(do("reverse", "r", book.id_of("k")))
    assert again.headers["idempotent-replayed"] == "true"
    problem = other.json() | {"index": 0}
    assert results_of(again) == [{"status": 409, "replayed": True, "problem": problem}]


def test_each_item_of_an_independent_batch_stands_by_itself(book: Book, journal: Journal) -> None:
    book.open("poor", min_balance=0)
    known = book.transfer("a", "b", 1, "known")
    book.open("c")
    split = book.post(SPLIT | {"pending": True}).json()
    items: list[tuple[dict[str, Any], int | str]] = [
        (post("one"), 201),
        (post("known", amount=1), 201),
        (post("known", amount=2), "idempotency_key_reused"),
        (post("nobody", "nobody"), "account_not_found"),
        (do("settle", "nothing", "nonsense"), "transaction_not_found"),
        (do("void", "other", "a b\u00e9"), "transaction_not_found"),
        (do("settle", "amount", split["id"], amount=1), "invalid_request"),
        (do("settle", "entries", split["id"], entries=transfer_body("b", "a")["entries"]), "invalid_request"),
        (hold("late", expires_at="2020-01-01T00:00:00Z"), "invalid_request"),
        (
            {**UNBALANCED, "idempotency_key": "unbalanced"},
            "unbalanced_transaction",
        ),
        (post("broke", "poor"), "insufficient_funds"),
        (do("reverse", "never", split["id"]), "not_reversible"),
        (post("last"), 201),
    ]
    before = journal.head()
    answer = book.batch(*(item for item, _ in items))
    assert codes(answer) == [expected for _, expected in items]
    results = results_of(answer)
    assert [result["replayed"] for result in results] == [False, True, *[False] * 11]
    assert results[1]["transaction"] == known.json()
    assert [result["problem"]["errors"][0]["pointer"] for result in results[6:9]] == [
        "/amount",
        "/entries/0",
        "/expires_at",
    ]
    for result in results:
        if problem := result.get("problem"):
            assert (problem["status"], problem["type"]) == (result["status"], f"/problems/{problem['code']}")
            assert problem["correlation_id"] == answer.headers["correlation-id"]
            assert ("transaction_id" in problem) == (result["status"] == 409)
    for result, path in (
        (results[3], ""),
        (results[4], "/nonsense/settle"),
        (results[5], "/a%20b%C3%A9/void"),
    ):
        assert result["problem"]["instance"] == f"{book.path}/transactions{path}"
    assert answer.headers["ledger-position"] == str(journal.head())
    assert (
        len(
            {event["stream"] for event in journal.after(before)} - {f"{book.name}/accounts/{a}" for a in "ab"}
        )
        == 4
    )
    for key in ("nobody", "nothing", "other", "amount", "entries", "late", "unbalanced"):
        assert code_of(book.operation(key)) == "operation_unknown"
    for key, state in (("one", "completed"), ("broke", "rejected"), ("never", "rejected")):
        assert book.operation(key).json()["state"] == state


Failing = tuple[str, Callable[[Book], dict[str, Any]], int, str]
UNBALANCED = {"idempotency_key": "x", "entries": [*SPLIT["entries"], SPLIT["entries"][0]]}
FAILING: list[Failing] = [
    ("a rule", lambda _: post("x", "poor"), 409, "insufficient_funds"),
    ("no account", lambda _: post("x", "nobody"), 404, "account_not_found"),
    ("no transaction", lambda _: do("void", "x", "nonsense"), 404, "transaction_not_found"),
    ("unbalanced", lambda _: UNBALANCED, 422, "unbalanced_transaction"),
    ("a key reused", lambda _: post("known", amount=2), 422, "idempotency_key_reused"),
    ("a key reused within", lambda _: post("first", amount=2), 422, "idempotency_key_reused"),
    ("a state", lambda _: hold("x", expires_at="2020-01-01T00:00:00Z"), 422, "invalid_request"),
    ("an earlier item", lambda book: do("reverse", "x", book.id_of("hold")), 409, "not_reversible"),
    ("a refusal before", lambda _: post("refused", "poor"), 409, "insufficient_funds"),
]


@pytest.mark.parametrize(
    ("item", "status", "code"), [pytest.param(*case[1:], id=case[0]) for case in FAILING]
)
def test_of_an_atomic_batch_all_is_recorded_or_nothing(
    book: Book, journal: Journal, item: Callable[[Book], dict[str, Any]], status: int, code: str
) -> None:
    book.open("c")
    book.open("poor", min_balance=0)
    book.transfer("a", "b", 1, "known")
    before = book.transfer("poor", "b", 10, "refused").json()
    head, accounts = journal.head(), [book.account(address).json() for address in ("a", "b", "poor")]
    items = [post("first"), hold("hold"), item(book), post("broke", "nobody"), post("last")]
    answer = book.batch(*items, mode="atomic")
    assert (answer.status_code, code_of(answer)) == (409, "batch_rejected")
    assert answer.headers["ledger-position"] == str(head) == str(journal.head())
    assert "idempotent-replayed" not in answer.headers
    shown = answer.json()
    assert (shown["index"], shown["problem"]["status"], shown["problem"]["code"]) == (2, status, code)
    assert ("errors" in shown["problem"]) == (status == 422)
    if item(book)["idempotency_key"] == "refused":
        assert shown["problem"] == before | {"index": 2}
    else:
        assert "transaction_id" not in shown["problem"], "there is none to be read"
    assert [book.account(address).json() for address in ("a", "b", "poor")] == accounts
    for key in ("first", "hold", "x", "last"):
        assert code_of(book.operation(key)) == "operation_unknown"
    assert book.batch(post("first", amount=7), hold("last"), mode="atomic").status_code == 200


def test_a_rejected_batch_is_decided_anew(book: Book) -> None:
    book.open("poor", min_balance=0)
    items = [post("x"), post("y", "poor")]
    assert book.batch(*items, mode="atomic").json()["index"] == 1
    book.transfer("a", "poor", 10)
    answer = book.batch(*items, mode="atomic")
    assert codes(answer) == [201, 201]
    assert "idempotent-replayed" not in answer.headers


@pytest.mark.parametrize("mode", MODES)
def test_a_key_twice_in_a_batch_happens_once(book: Book, mode: str) -> None:
    answer = book.batch(post("k"), post("k"), mode=mode)
    first, second = results_of(answer)
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert second["transaction"] == first["transaction"]
    assert "idempotent-replayed" not in answer.headers
    assert book.amounts("a") == (10, 0, 0, 0)


def test_positions_are_the_highest_of_the_items(book: Book, journal: Journal) -> None:
    early, late = book.transfer("a", "b", 1, "early"), book.transfer("a", "b", 1, "late")
    book.transfer("a", "b", 1)
    replayed = book.batch(post("late", amount=1), post("early", amount=1))
    assert replayed.headers["ledger-position"] == late.headers["ledger-position"]
    partly = book.batch(post("early", amount=1), post("none", "nobody"))
    assert partly.headers["ledger-position"] == str(journal.head()), "of what recorded nothing, the newest"
    assert "idempotent-replayed" not in partly.headers
    nothing = book.batch(post("none", "nobody"))
    assert nothing.headers["ledger-position"] == str(journal.head())
    mixed = book.batch(post("new"), post("early", amount=1), post("none", "nobody"))
    assert mixed.headers["ledger-position"] == str(journal.head())
    assert int(early.headers["ledger-position"]) < int(replayed.headers["ledger-position"])


SHAPES: list[tuple[str, Any, list[str]]] = [
    ("an amount in quotes", post("x", amount="1"), ["/entries/0/amount", "/entries/1/amount"]),
    ("a fraction", post("x", amount=1.0), ["/entries/0/amount", "/entries/1/amount"]),
    ("no key", transfer_body(), ["/idempotency_key"]),
    ("no key for a void", {"void": "x"}, ["/idempotency_key"]),
    ("a key with a slash", post("a/b"), ["/idempotency_key"]),
    ("a key with a line break", post("a\n"), ["/idempotency_key"]),
    ("an empty key", post(""), ["/idempotency_key"]),
    ("a long key", post("x" * 256), ["/idempotency_key"]),
    ("a number for a key", {**transfer_body(), "idempotency_key": 1}, ["/idempotency_key"]),
    ("an unknown member", post("x", extra=1), ["/extra"]),
    (
        "an unknown member of an entry",
        {"idempotency_key": "x", "entries": [{**SPLIT["entries"][0], "memo": ""}] * 2},
        ["/entries/0/memo", "/entries/1/memo"],
    ),
    ("an unknown member of a void", do("void", "x", "y", amount=1), ["/amount"]),
    ("an unknown member of a settlement", do("settle", "x", "y", pending=True), ["/pending"]),
    ("an unknown member of a reversal", do("reverse", "x", "y", entries=[]), ["/entries"]),
    ("two things at once", do("settle", "x", "y", void="z"), ["/void"]),
    ("amount and entries", do("settle", "x", "y", amount=1, entries=transfer_body()["entries"]), ["/amount"]),
    ("nothing to do", {"idempotency_key": "x"}, ["/entries"]),
    ("nothing named", {"idempotency_key": "x", "settle": None}, ["/settle"]),
    ("no name", do("void", "x", ""), ["/void"]),
    ("an expiry of a posting", post("x", expires_at=FAR), ["/expires_at"]),
    ("U+0000", post("x", reference="\0"), ["/reference"]),
    ("one entry", {"idempotency_key": "x", "entries": transfer_body()["entries"][:1]}, ["/entries"]),
    ("no object", 5, [""]),
    ("null", None, [""]),
    ("a list", [], [""]),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("item", "pointers"), [pytest.param(*case[1:], id=case[0]) for case in SHAPES])
def test_an_item_of_the_wrong_shape_refuses_the_whole(
    book: Book, mode: str, item: Any, pointers: list[str]
) -> None:
    answer = book.batch(post("1"), post("2"), hold("3"), item, mode=mode)
    assert code_of(answer) == "invalid_request"
    assert pointers_of(answer) == [f"/transactions/3{pointer}" for pointer in pointers]
    assert code_of(book.operation("1")) == "operation_unknown"
    assert book.amounts("a") == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/mode", "/transactions"]),
        ({"mode": "all", "transactions": [post("x")]}, ["/mode"]),
        ({"mode": None, "transactions": [post("x")]}, ["/mode"]),
        ({"transactions": [post("x")]}, ["/mode"]),
        ({"mode": "atomic", "transactions": []}, ["/transactions"]),
        ({"mode": "atomic", "transactions": {}}, ["/transactions"]),
        ({"mode": "atomic", "transactions": [post("x")], "idempotency_key": "k"}, ["/idempotency_key"]),
        ([], [""]),
    ],
)
def test_a_batch_has_a_mode_and_items(book: Book, body: Any, pointers: list[str]) -> None:
    answer = book.client.post(f"{book.path}/transactions/batch", json=body)
    assert sorted(pointers_of(answer)) == pointers


@pytest.mark.parametrize("mode", MODES)
def test_ten_thousand_items_and_no_more(book: Book, journal: Journal, mode: str) -> None:
    items = [post(f"k{number}", amount=1) for number in range(10_000)]
    before = journal.head()
    answer = book.batch(*items, mode=mode, timeout=100.0)
    assert {result["status"] for result in results_of(answer)} == {201}
    assert answer.headers["ledger-position"] == str(before + 30_000) == str(journal.head())
    assert book.amounts("a") == (10_000, 0, 0, 0)
    again = book.batch(*items, mode=mode, timeout=100.0)
    assert again.headers["idempotent-replayed"] == "true"
    assert len(results_of(again)) == 10_000
    more = book.batch(*items, post("one-more"), mode=mode, timeout=100.0)
    assert pointers_of(more) == ["/transactions"]
    assert book.amounts("a") == (10_000, 0, 0, 0)


@pytest.mark.parametrize("mode", MODES)
def test_a_ledger_that_is_not_there(book: Book, mode: str) -> None:
    answer = Book(book.client, "nowhere").batch(post("x"), post("y"), mode=mode)
    assert (answer.status_code, code_of(answer)) == (404, "ledger_not_found")


def test_the_batch_needs_no_key_and_takes_none(book: Book) -> None:
    for key in ("outer", "outer", "a b"):
        assert book.batch(post("x"), headers={"Idempotency-Key": key}).status_code == 200
    assert code_of(book.operation("outer")) == "operation_unknown"
    assert book.operation("x").json()["state"] == "completed"
    other = book.batch(post("y"), headers={"Idempotency-Key": "outer"})
    assert "idempotent-replayed" not in other.headers


def test_quotes_in_an_item_belong_to_its_key(book: Book) -> None:
    book.batch(post('"k"'))
    assert book.transfer("a", "b", 10, '"\\"k\\""').headers["idempotent-replayed"] == "true"
    assert code_of(book.operation("k")) == "operation_unknown"


def test_the_order_of_members_does_not_count_and_defaults_do(book: Book) -> None:
    book.transfer("a", "b", 10, "k")
    turned = dict(reversed(post("k").items()))
    assert results_of(book.batch(turned))[0]["replayed"]
    assert codes(book.batch(post("k", pending=False))) == ["idempotency_key_reused"]
    hold = book.hold("a", "b", 10).json()
    book.settle(hold["id"], {}, "s")
    assert codes(book.batch(do("settle", "s", hold["id"], amount=None))) == ["idempotency_key_reused"]
    assert codes(book.batch(do("void", "s", hold["id"]))) == ["idempotency_key_reused"]


def test_items_are_replayed_after_their_accounts_were_frozen_and_their_time_was_over(book: Book) -> None:
    items = [hold("h", expires_at=soon()), post("p")]
    first = book.batch(*items, mode="atomic")
    eventually(lambda: book.transaction(book.id_of("h")).json()["status"] == "expired")
    book.change("freeze", "a")
    again = book.batch(*items, mode="atomic")
    assert again.headers["idempotent-replayed"] == "true"
    assert [result["transaction"] for result in results_of(again)] == [
        result["transaction"] for result in results_of(first)
    ]


def test_members_that_appear_twice_are_malformed(book: Book) -> None:
    content = json.dumps({"mode": "atomic", "transactions": [post("x")]})
    content = content.replace('"amount": 10', '"amount": 10, "amount": 10')
    answer = book.client.post(f"{book.path}/transactions/batch", content=content.encode())
    assert (answer.status_code, code_of(answer)) == (400, "malformed_json")


def test_no_work_is_done_for_those_who_may_not(book: Book, keys: Keys) -> None:
    for client in (keys.client("auditor", ledgers=["*"]), keys.client("client", ledgers=["another"])):
        answer = Book(client, book.name).batch(post("x"))
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")


def test_asking_for_a_later_answer_makes_no_difference(book: Book) -> None:
    assert codes(book.batch(post("x"), headers={"Prefer": "respond-async"})) == [201]


def test_batches_and_single_requests_at_once_do_each_thing_once(served: Served, book: Book) -> None:
    def send(number: int) -> int:
        keys = [f"k{key}" for key in range(20)]
        with served.client() as client:
            mine = Book(client, book.name)
            if number % 3:
                mode = MODES[number % 2]
                return mine.batch(*map(post, keys[number:] + keys[:number]), mode=mode).status_code
            return max(mine.transfer("a", "b", 10, key).status_code for key in keys)

    with ThreadPoolExecutor(8) as senders:
        assert set(senders.map(send, range(12))) <= {200, 201}
    assert book.amounts("b") == (0, 200, 0, 0)
