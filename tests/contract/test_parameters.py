"""Query parameters, over every route: unknown and repeated ones are refused by name."""

import re
from typing import Any

import httpx2
import pytest

from api.http.declaration import NoQuery
from api.http.words import names_of
from api.resources import ENDPOINTS
from tests.contract.books import Book
from tests.contract.callers import Keys

ROUTES = [endpoint for endpoint in ENDPOINTS if not endpoint.declared.is_signed]


def ask(client: httpx2.Client, endpoint: Any, query: str, ledger: str = "main") -> httpx2.Response:
    """Request with a query, and with a JSON body if the route takes one."""
    path = re.sub(r"{(\w+)}", lambda found: ledger if found[1] == "ledger" else "x", endpoint.path)
    headers = {"Idempotency-Key": "k"} if endpoint.declared.is_keyed else {}
    body: dict[str, Any] | None = {} if endpoint.declared.body else None
    return client.request(endpoint.declared.method, f"{path}?{query}", headers=headers, json=body)


each = pytest.mark.parametrize("endpoint", ROUTES, ids=lambda endpoint: endpoint.declared.operation_id)


@each
def test_what_is_unknown_is_refused_with_what_is_known(client: httpx2.Client, endpoint: Any) -> None:
    # Other faults of the request stay, because every fault of a query is reported.
    answer = ask(client, endpoint, "limit=1&Page_size=1&=&%00=&%F0%9F%98%80=")
    assert answer.status_code == 422, answer.text
    errors = {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
    assert errors.keys() >= {"?limit", "?Page_size", "?", "?\0", "?😀"}
    names = names_of(endpoint.declared.query)
    for name in names:
        assert name in errors["?limit"]
    if endpoint.declared.query is NoQuery:
        assert errors["?limit"] == "is unknown; there are no parameters"


@each
def test_what_is_repeated_is_refused_by_its_name(client: httpx2.Client, endpoint: Any) -> None:
    names = names_of(endpoint.declared.query) or ["any"]
    query = "&".join(f"{name}=1&{name}=2" for name in names)
    answer = ask(client, endpoint, query)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"?{name}" for name in names]


@each
def test_parameters_without_a_name_or_a_value(client: httpx2.Client, endpoint: Any) -> None:
    for query in ("x", "&x&", "=x", "%3D"):
        assert ask(client, endpoint, query).status_code == 422
    for query in ("", "&", "&&"):
        assert ask(client, endpoint, query).status_code != 500


def test_callbacks_take_none_either(keys: Keys) -> None:
    # A caller that is not the provider is told this first.
    assert keys.client_with(None).post("/v1/providers/simulator/callbacks?x=1", json={}).status_code == 401


CLOSED_SETS = {
    "accounts?status=gone": "must be one of closed, frozen, open",
    "accounts/a?consistency=weak": "must be one of eventual, strong",
    "accounts/a/entries?clock=wall": "must be one of effective, recorded",
    "accounts/a/balance?clock=wall": "must be one of effective, recorded",
    "trial-balance?clock=wall": "must be one of effective, recorded",
    "transactions?status=done": "must be one of expired, pending, posted, rejected, settled, voided",
    "transactions?kind=transfer": "must be one of hold, posting, reversal, settlement, void",
    "payouts?state=paid": None,
    "events?type=limits": None,
    "events?type=transaction": None,
    "events?type=Transaction.Posted": None,
    "balances?group_by=segment": "must be segment:N, N being from 1 to 10",
    "balances?group_by=segment:11": "must be segment:N, N being from 1 to 10",
    "/v1/dead-letters?state=dead": None,
    "/v1/dead-letters?projection=balance": None,
}


@pytest.mark.parametrize("query", CLOSED_SETS)
def test_what_is_not_in_a_closed_set_is_refused_with_the_set(book: Book, query: str) -> None:
    answer = book.client.get(query if query.startswith("/") else f"{book.path}/{query}")
    (error,) = answer.json()["errors"]
    assert answer.status_code == 422
    assert error["pointer"] == "?" + query.partition("?")[2].partition("=")[0]
    expected = CLOSED_SETS[query]
    assert error["detail"] == expected or (expected is None and error["detail"].startswith("must be one of "))


@pytest.mark.parametrize("path", ["accounts", "balances", "transactions"])
@pytest.mark.parametrize(
    ("prefix", "is_one"),
    [
        *(
            (prefix, True)
            for prefix in ("", "a", "users", "users:", "users:al", "a:b:c:d:e:f:g:h:i:j", "A-_9", "x" * 64)
        ),
        *(
            (prefix, False)
            for prefix in (":", ":a", "a::b", "a::", "a b", "a/b", "é", "a*", "%", "x" * 65, "x" * 64 + "y:")
        ),
        *(
            (prefix, False)
            for prefix in ("a:b:c:d:e:f:g:h:i:j:", "a:b:c:d:e:f:g:h:i:j:k", "a\n", "a\0", "USD/2")
        ),
    ],
)
def test_a_prefix_is_what_an_address_can_begin_with(book: Book, path: str, prefix: str, is_one: bool) -> None:
    answer = book.client.get(f"{book.path}/{path}", params={"prefix": prefix})
    assert answer.status_code == (200 if is_one else 422)
    if not is_one:
        (error,) = answer.json()["errors"]
        assert error["pointer"] == "?prefix" and error["detail"].startswith(
            "must be the beginning of an address"
        )
