"""What a replica refuses, and says where to send it."""

import re
from typing import Any

import httpx2
import pytest

import api.console.pages.all  # noqa: F401  (lists the pages)
from api.console.view import PAGES
from api.http.consistency import Consistency
from api.http.endpoint import Endpoint
from api.resources import ENDPOINTS
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.serving import KEY
from tests.integration.replicas.pairs import Pair, caller, run, write

pytestmark = pytest.mark.integration

NAMES = {
    "ledger": "main",
    "address": "a",
    "id": "0b2f7c1e-8d3a-5b6f-9c0d-1e2f3a4b5c6d",
    "key": "order-1",
    "name": "balances",
    "delivery": "21",
    "code": "insufficient_funds",
    "asset": "swagger-ui.css",
    "provider": "simulator",
    "size": "21",
    "log": "west",
}
MAY_ANSWER = (Consistency.PROJECTION, Consistency.JOURNAL, Consistency.PROCESS, Consistency.CHOSEN)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.declared.operation_id)
def test_each_route_is_answered_from_the_copy_or_refused(
    pair: Pair, refusing: httpx2.Client, endpoint: Endpoint
) -> None:
    declared = endpoint.declared
    path, head = declared.path.format(**NAMES), run(pair.primary, "SELECT position FROM tallystick.head")
    is_chosen = declared.consistency is Consistency.CHOSEN
    is_answered = declared.method == "GET" and declared.consistency in MAY_ANSWER
    params = {"consistency": "eventual"} if is_chosen else {}
    answer = refusing.request(declared.method, path, params=params)
    assert (answer.status_code == 421) == (not is_answered), answer.text
    if is_chosen:
        assert refusing.get(path).status_code == 421
    if not is_answered:
        assert answer.json()["code"] == "read_only_replica"
        assert answer.json()["primary"] == answer.headers["Ledger-Primary"] == pair.served.url
    assert answer.status_code < 500
    assert run(pair.primary, "SELECT position FROM tallystick.head") == head


def test_who_may_not_call_is_refused_first(pair: Pair, primary: httpx2.Client) -> None:
    with caller(pair.refusing, None) as stranger:
        assert stranger.post("/v1/ledgers", json={"name": "none"}).status_code == 401
    keys = Keys(pair.served, primary)
    made = keys.make("auditor", ledgers=["*"])
    pair.replayed()
    with caller(pair.refusing, made["key"]) as auditor:
        assert auditor.post("/v1/ledgers", json={"name": "none"}).status_code == 403
    keys.close()


def test_head_is_refused_as_get(refusing: httpx2.Client, book: Book) -> None:
    assert refusing.head(f"{book.path}").status_code == 421
    assert refusing.head(f"{book.path}/accounts").status_code == 200


def test_a_refused_request_leaves_its_key_free(
    primary: httpx2.Client, refusing: httpx2.Client, book: Book
) -> None:
    entries = [
        {"account": account, "direction": direction, "amount": 10}
        for account, direction in (("a", "debit"), ("b", "credit"))
    ]
    sent: dict[str, Any] = {"json": {"entries": entries}, "headers": {"Idempotency-Key": "later"}}
    path = f"{book.path}/transactions"
    assert refusing.post(path, **sent).status_code == 421
    answer = primary.post(path, **sent)
    assert (answer.status_code, answer.headers.get("Idempotent-Replayed")) == (201, None)


def test_a_page_of_the_console_is_refused_where_it_would_write(pair: Pair) -> None:
    with caller(pair.refusing, None) as browser:
        assert browser.get("/console/sign-in").status_code == 200
        refused = browser.post("/console/sign-in", data={"key": "tk_any"})
        assert refused.status_code == 421
        assert "takes no writes" in refused.text


def test_the_position_of_a_write_is_reached(
    primary: httpx2.Client, refusing: httpx2.Client, book: Book
) -> None:
    position = write(primary, book.name)
    path = f"{book.path}/accounts/b"
    asked: dict[str, Any] = {"consistency": "eventual", "min_position": position}
    assert refusing.get(path, params=asked).json()["balance"] == 10


def test_pages_are_read_from_the_copy(pair: Pair, primary: httpx2.Client, book: Book) -> None:
    made = book.transfer("a", "b", 10, "shown")
    id, position = made.json()["id"], int(made.headers["Ledger-Position"])
    with caller(pair.served.url, None) as browser:
        browser.post("/console/sign-in", data={"key": KEY})
        cookies = dict(browser.cookies)
    pair.replayed()
    names = {
        "ledger": book.name,
        "address": "a",
        "key": "shown",
        "id": id,
        "name": "balances",
        "position": str(position),
    }
    with caller(pair.refusing, None) as browser:
        browser.cookies.update(cookies)
        shown = 0
        for page in PAGES:
            asked = set(re.findall(r"{(\w+)}", page.path))
            is_of_another = "{id}" in page.path and "transactions/{id}" not in page.path
            needs_more = "/proofs/" in page.path or page.path.endswith("/trace")
            if is_of_another or needs_more or not asked <= names.keys():
                continue
            answer = browser.get(page.path.format(**names))
            assert answer.status_code in (200, 303), (page.path, answer.text)
            if answer.status_code == 200 and "<main" in answer.text:
                shown += 1
                assert "This is read from a copy of the ledger" in answer.text, page.path
        assert shown > 10
        freeze = browser.get(f"/console/ledgers/{book.name}/accounts/a/freeze")
        assert "This server only reads a copy of the ledger" in freeze.text
        missing = browser.get(f"/console/ledgers/{book.name}/transactions/{NAMES['id']}")
        assert missing.status_code == 421
        assert "This copy of the ledger does not have it" in missing.text
