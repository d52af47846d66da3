"""Of several faults of a request, the first in the table of api/README.md, Problems, is answered."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from domain.commit import group_commit, queue
from tests.contract.answers import code_of
from tests.contract.books import Book, transfer_body
from tests.contract.callers import Keys


class Wrong:
    """A transaction request to which faults are added, one for each row of the table."""

    def __init__(self, book: Book) -> None:
        self.client = book.client
        self.ledger = book.name
        self.headers = {"Idempotency-Key": "new", "Content-Type": "application/json"}
        self.body: dict[str, Any] = transfer_body()
        self.content: bytes | None = None
        self.query = ""

    def send(self) -> httpx2.Response:
        """Send it."""
        url = f"/v1/ledgers/{self.ledger}/transactions{self.query}"
        if self.content is not None:
            return self.client.post(url, content=self.content, headers=self.headers)
        return self.client.post(url, json=self.body, headers=self.headers)


def no_caller(wrong: Wrong) -> None:
    wrong.headers["Authorization"] = "Bearer tk_nobody"


def too_large(wrong: Wrong) -> None:
    wrong.content = b" " * (16 * 1024 * 1024 + 1)


def media_type(wrong: Wrong) -> None:
    wrong.headers["Content-Type"] = "text/plain"


def malformed(wrong: Wrong) -> None:
    wrong.content = wrong.content or b"{"


def no_key(wrong: Wrong) -> None:
    del wrong.headers["Idempotency-Key"]


def bad_key(wrong: Wrong) -> None:
    wrong.headers["Idempotency-Key"] = "a b"


def bad_shape(wrong: Wrong) -> None:
    wrong.body["unknown"] = True


def bad_query(wrong: Wrong) -> None:
    wrong.query = "?unknown=1"


def no_ledger(wrong: Wrong) -> None:
    wrong.ledger = "nowhere"


def known_key(wrong: Wrong) -> None:
    wrong.headers["Idempotency-Key"] = "known"


def no_account(wrong: Wrong) -> None:
    wrong.body["entries"].append({"account": "nobody", "direction": "debit", "amount": 1})


def unbalanced(wrong: Wrong) -> None:
    wrong.body["entries"].append({"account": "a", "direction": "debit", "amount": 1})


def broke(wrong: Wrong) -> None:
    wrong.body["entries"][0]["account"] = "poor"


STEPS: list[tuple[Callable[[Wrong], None], int, str]] = [
    (no_caller, 401, "unauthenticated"),
    (too_large, 413, "body_too_large"),
    (media_type, 415, "unsupported_media_type"),
    (malformed, 400, "malformed_json"),
    (bad_key, 400, "idempotency_key_invalid"),
    (bad_shape, 422, "invalid_request"),
    (no_ledger, 404, "ledger_not_found"),
    (known_key, 422, "idempotency_key_reused"),
    (no_account, 404, "account_not_found"),
    (unbalanced, 422, "unbalanced_transaction"),
    (broke, 409, "insufficient_funds"),
]
# These faults concern the same thing, so a request has one or the other.
EXCLUSIVE = [{bad_key, known_key}, {no_ledger, known_key}]
PAIRS = [
    pytest.param(first, second, id=f"{first[2]} before {second[2]}")
    for index, first in enumerate(STEPS)
    for second in STEPS[index + 1 :]
    if {first[0], second[0]} not in EXCLUSIVE
]


@pytest.fixture
def wrong(book: Book) -> Wrong:
    book.open("poor", min_balance=0)
    book.transfer("a", "b", 1, "known")
    return Wrong(book)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_first_step_that_fails_is_answered(
    wrong: Wrong,
    first: tuple[Callable[[Wrong], None], int, str],
    second: tuple[Callable[[Wrong], None], int, str],
) -> None:
    second[0](wrong)
    first[0](wrong)
    answer = wrong.send()
    assert (answer.status_code, code_of(answer)) == first[1:]


@pytest.mark.parametrize("later", [bad_shape, bad_query, no_ledger, no_account, unbalanced, broke])
def test_a_missing_key_comes_before_the_shape(wrong: Wrong, later: Callable[[Wrong], None]) -> None:
    later(wrong)
    no_key(wrong)
    assert code_of(wrong.send()) == "idempotency_key_missing"


@pytest.mark.parametrize("earlier", [malformed, media_type, too_large, no_caller])
def test_a_missing_key_comes_after_the_bytes(wrong: Wrong, earlier: Callable[[Wrong], None]) -> None:
    no_key(wrong)
    earlier(wrong)
    assert code_of(wrong.send()) != "idempotency_key_missing"


def test_a_ledger_not_granted_comes_before_everything_else(wrong: Wrong, keys: Keys) -> None:
    wrong.client = keys.client("client", ledgers=["another"])
    malformed(wrong)
    no_key(wrong)
    assert code_of(wrong.send()) == "forbidden"


def test_too_much_waiting_comes_before_the_message(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        group_commit.GroupCommit, "waiting_commands", property(lambda _: queue.MAX_WAITING_COMMANDS)
    )
    malformed(wrong)
    answer = wrong.send()
    assert (answer.status_code, code_of(answer)) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1


def test_so_does_what_is_too_large_together(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_WAITING_BYTES", 0)
    malformed(wrong)
    answer = wrong.send()
    assert (answer.status_code, code_of(answer)) == (503, "overloaded")


def test_the_version_comes_after_the_account_and_before_the_rules(book: Book) -> None:
    stale = {"If-Match": '"9"'}
    missing = book.client.patch(f"{book.path}/accounts/nobody", json={}, headers=stale)
    assert code_of(missing) == "account_not_found"
    shape = book.client.patch(f"{book.path}/accounts/a", json={"x": 1}, headers=stale)
    assert code_of(shape) == "invalid_request"
    several = {"If-Match": '"8", "9"'}
    missing = book.client.patch(f"{book.path}/accounts/nobody", json={}, headers=several)
    assert code_of(missing) == "account_not_found"
    limits = {"min_balance": 2, "max_balance": 1}
    never = book.client.patch(f"{book.path}/accounts/a", json=limits, headers=stale)
    assert code_of(never) == "invalid_request"  # whatever the account holds
    book.client.patch(f"{book.path}/accounts/a", json={"max_balance": 1})
    beyond = book.client.patch(f"{book.path}/accounts/a", json={"min_balance": 2}, headers=stale)
    assert code_of(beyond) == "version_mismatch"


def test_a_cursor_comes_before_the_shape_of_the_query(book: Book) -> None:
    answer = book.client.get(f"{book.path}/accounts?cursor=nonsense&page_size=x&unknown=1")
    assert code_of(answer) == "cursor_invalid"
    answer = book.client.get("/v1/ledgers/nowhere/accounts?page_size=x")
    assert code_of(answer) == "invalid_request"


def test_of_several_rules_the_first_of_the_table_is_given(book: Book) -> None:
    """With each rule no longer broken, the next one in order is answered."""
    most = 2**53 - 1
    for address, limits in (
        ("closed", {}),
        ("frozen", {}),
        ("poor", {"min_balance": 0}),
        ("full", {"max_balance": 0}),
    ):
        book.open(address, **limits)
    book.change("close", "closed")
    book.change("freeze", "frozen")
    book.transfer("a", "b", most)
    rules = [
        ("account_closed", transfer_body("closed", "b", 1)),
        ("account_frozen", transfer_body("frozen", "frozen", 1)),
        ("amount_overflow", transfer_body("a", "b", 1)),
        ("insufficient_funds", transfer_body("poor", "other", 1)),
        ("balance_limit_exceeded", transfer_body("other", "full", 1)),
    ]
    book.open("other")
    for turned in (False, True):
        for first in range(len(rules)):
            broken = [body for _, body in rules[first:]]
            entries = [entry for body in (broken[::-1] if turned else broken) for entry in body["entries"]]
            assert code_of(book.post({"entries": entries})) == rules[first][0]
            assert code_of(book.post({"entries": entries, "pending": True})) == rules[first][0]


def test_an_account_that_exists_comes_before_its_scale(book: Book) -> None:
    body = {"address": "a", "asset": "USD/3", "normal_side": "credit"}
    assert code_of(book.client.post(f"{book.path}/accounts", json=body)) == "account_exists"


class TestOfBatches:
    def send(self, book: Book, **wrong: Any) -> str:
        """Send a batch with these faults and return the code of the answer."""
        items = wrong.pop("items", [{"idempotency_key": "k", **transfer_body("a", "nobody")}])
        content = wrong.pop("content", None)
        client, ledger = wrong.pop("client", book.client), wrong.pop("ledger", book.name)
        options = {"content": content} if content else {"json": {"mode": "atomic", "transactions": items}}
        return code_of(client.post(f"/v1/ledgers/{ledger}/transactions/batch", **options, **wrong))

    def test_the_first_step_that_fails_is_answered(self, book: Book, keys: Keys) -> None:
        bad = [{"idempotency_key": "k"}]
        nobody, other = keys.client_with(None), keys.client("client", ledgers=["another"])
        text = {"Content-Type": "text/plain"}
        assert self.send(book, client=nobody, content=b"{", headers=text) == "unauthenticated"
        assert self.send(book, client=other, content=b"{", headers=text) == "forbidden"
        assert self.send(book, content=b" " * (16 * 1024 * 1024 + 1), headers=text) == "body_too_large"
        assert self.send(book, content=b"{", headers=text) == "unsupported_media_type"
        assert self.send(book, content=b"{", ledger="nowhere") == "malformed_json"
        assert self.send(book, items=bad, ledger="nowhere") == "invalid_request"
        assert self.send(book, ledger="nowhere", params={"dry_run": "1"}) == "invalid_request"
        assert self.send(book, ledger="nowhere") == "ledger_not_found"
        assert self.send(book) == "batch_rejected"
