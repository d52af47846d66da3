"""Idempotency: the same key with the same request gets the same answer, for ever."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import httpx2
import pytest

from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book, transfer_body
from tests.contract.callers import Keys
from tests.contract.serving import Served


def assert_replayed(first: httpx2.Response, again: httpx2.Response) -> None:
    assert again.status_code == first.status_code
    assert again.content == first.content
    assert again.headers["ledger-position"] == first.headers["ledger-position"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


def test_the_first_answer_again(book: Book) -> None:
    first = book.transfer("a", "b", 10, "k")
    book.transfer("a", "b", 5)
    assert_replayed(first, book.transfer("a", "b", 10, "k"))
    assert book.account("b").json()["balance"] == 15


def test_the_first_refusal_again_even_when_it_would_pass_now(book: Book) -> None:
    book.open("poor", min_balance=0)
    first = book.transfer("poor", "b", 10, "k")
    assert (first.status_code, code_of(first)) == (409, "insufficient_funds")
    assert book.transfer("a", "poor", 100).status_code == 201
    assert_replayed(first, book.transfer("poor", "b", 10, "k"))
    assert book.account("poor").json()["balance"] == 100


@pytest.mark.parametrize("quoted", ['"k-1"', "k-1"])
def test_a_key_in_quotes_is_the_key(book: Book, quoted: str) -> None:
    first = book.transfer("a", "b", 10, "k-1")
    assert_replayed(first, book.transfer("a", "b", 10, quoted))


@pytest.mark.parametrize(
    ("quoted", "key"), [('"a\\"b"', 'a"b'), ('"a\\\\b"', "a\\b"), ("a\"b'c", "a\"b'c"), ("%41", "%41")]
)
def test_keys_with_signs(book: Book, quoted: str, key: str) -> None:
    posted = book.transfer("a", "b", 10, quoted).json()
    assert posted["idempotency_key"] == key
    assert posted["id"] == str(uuid5(NAMESPACE_URL, f"tallystick:{book.name}/{key}"))


@pytest.mark.parametrize(
    "content",
    [
        '{"entries":[{"amount":10,"direction":"debit","account":"a"},'
        '{"account":"b","direction":"credit","amount":10}],"reference":"é"}',
        '{ "reference" : "\\u00e9", "entries" : [ {"account":"\\u0061","direction":"debit","amount":10} ,'
        ' {"account":"b","direction":"credit","amount":10} ] }',
    ],
    ids=["other order", "other space and escapes"],
)
def test_how_the_body_is_written_does_not_count(book: Book, content: str) -> None:
    first = book.transfer("a", "b", 10, "k", reference="é")
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    again = book.client.post(f"{book.path}/transactions", content=content.encode(), headers=headers)
    assert_replayed(first, again)


@pytest.mark.parametrize(
    "other",
    [
        transfer_body("a", "b", 11),
        transfer_body("b", "a", 10),
        {**transfer_body(), "reference": ""},
        {**transfer_body(), "pending": False},
        {**transfer_body(), "effective_at": None},
        {"entries": list(reversed(transfer_body()["entries"]))},
        transfer_body("a", "nobody", 10),
        transfer_body("a", "b", 2**53 - 1),
    ],
    ids=json.dumps,
)
def test_another_request_under_a_known_key(book: Book, other: dict[str, Any]) -> None:
    book.post(transfer_body(), "k")
    answer = book.post(other, "k")
    assert (answer.status_code, code_of(answer)) == (422, "idempotency_key_reused")
    assert book.account("b").json()["balance"] == 10


def test_keys_belong_to_a_ledger(book: Book) -> None:
    other = Book(book.client, book.name + "-other")
    book.client.post("/v1/ledgers", json={"name": other.name})
    other.open("a")
    other.open("b")
    assert book.transfer("a", "b", 10, "k").status_code == 201
    answer = other.transfer("a", "b", 10, "k")
    assert answer.status_code == 201
    assert "idempotent-replayed" not in answer.headers


def test_the_same_request_from_another_key_of_the_api_is_a_replay(book: Book, keys: Keys) -> None:
    first = book.transfer("a", "b", 10, "k")
    other = Book(keys.client("client", ledgers=[book.name]), book.name)
    assert_replayed(first, other.transfer("a", "b", 10, "k"))


@pytest.mark.parametrize(
    "key",
    ["a b", "a/b", "x" * 256, "", "é", "a\tb", '"', '"a', '"a"b', '"a";p=1', '""', '"a/b"', '"\\a"', '"a b"'],
)
def test_keys_that_are_none(book: Book, key: str) -> None:
    headers = httpx2.Headers([(b"Idempotency-Key", key.encode())])
    answer = book.client.post(f"{book.path}/transactions", json=transfer_body(), headers=headers)
    assert (answer.status_code, code_of(answer)) == (400, "idempotency_key_invalid")


def test_the_longest_key(book: Book) -> None:
    key = "".join(map(chr, range(33, 127))).replace("/", "").replace('"', "")
    key = (key * 3)[:255]
    assert book.transfer("a", "b", 10, key).json()["idempotency_key"] == key


def test_no_key(book: Book) -> None:
    answer = book.client.post(f"{book.path}/transactions", json=transfer_body())
    assert (answer.status_code, code_of(answer)) == (400, "idempotency_key_missing")


@pytest.mark.parametrize("values", [("k", "k"), ("k", "l"), ('"k"', '"k"')])
def test_a_repeated_key(book: Book, values: tuple[str, str]) -> None:
    headers = [("Idempotency-Key", value) for value in values]
    answer = book.client.post(f"{book.path}/transactions", json=transfer_body(), headers=headers)
    assert (answer.status_code, code_of(answer)) == (400, "idempotency_key_invalid")


def test_the_same_request_many_times_at_once_happens_once(served: Served, book: Book) -> None:
    def send(_: int) -> httpx2.Response:
        with served.client() as client:
            return Book(client, book.name).transfer("a", "b", 10, "k")

    with ThreadPoolExecutor(8) as senders:
        answers = list(senders.map(send, range(16)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert book.account("b").json()["balance"] == 10


def test_what_became_of_a_request(book: Book) -> None:
    posted = book.transfer("a", "b", 10, "k%1").json()
    answer = book.client.get(f"{book.path}/operations/k%251")
    assert answer.status_code == 200
    shown = answer.json()
    assert len(shown.pop("request_fingerprint")) == 64
    assert shown == {
        "idempotency_key": "k%1",
        "state": "completed",
        "retry": "unnecessary",
        "resource": f"{book.path}/transactions/{posted['id']}",
        "accepted_at": posted["recorded_at"],
        "completed_at": posted["recorded_at"],
        "correlation_id": posted["correlation_id"],
        "position": posted["position"],
        "outcome": None,
        "problem": None,
    }


def test_what_became_of_a_refused_request(book: Book) -> None:
    book.open("poor", min_balance=0)
    refused = book.transfer("poor", "b", 10, "k")
    shown = book.client.get(f"{book.path}/operations/k").json()
    assert (shown["state"], shown["retry"]) == ("rejected", "unnecessary")
    assert shown["problem"] == refused.json()


@pytest.mark.parametrize("key", ["unknown", "a%2Fb", "%C3%A9", "%00", "a%20b", "x" * 300])
def test_a_request_that_never_came(book: Book, key: str) -> None:
    answer = book.client.get(f"{book.path}/operations/{key}")
    assert (answer.status_code, code_of(answer)) == (404, "operation_unknown")
    assert answer.json()["retry"] == "safe"


def test_opening_needs_no_key_and_takes_none(book: Book) -> None:
    body = {"address": "c", "asset": "USD/2", "normal_side": "debit"}
    for expected in (201, 200):
        answer = book.client.post(f"{book.path}/accounts", json=body, headers={"Idempotency-Key": "k"})
        assert answer.status_code == expected
    assert pointers_of(book.post({}, "k")) == ["/entries"]
