"""RFC 3339 times, wherever a time is accepted: which are taken, and why others are not."""

from typing import Any
from urllib.parse import quote

import pytest

from api.http.fields import BY_METADATA
from api.resources import ENDPOINTS
from tests.contract.books import Book, transfer_body

FORM = "must be a time of RFC 3339, such as 2026-11-23T20:00:00.000000Z"
FINER = "has more than six digits of fraction: times are kept in microseconds"
LEAP = "is a leap second, which cannot be stored: name the second before or after it"
NONE = "is not a time that exists in the years 1 to 9999"

TAKEN = {
    "2026-11-23T20:00:00Z": "2026-11-23T20:00:00.000000Z",
    "2026-11-23T20:00:00.5Z": "2026-11-23T20:00:00.500000Z",
    "2026-11-23T20:00:00.123456Z": "2026-11-23T20:00:00.123456Z",
    "2026-11-23T20:00:00.1234560Z": "2026-11-23T20:00:00.123456Z",
    "2026-11-23T20:00:00.123456000Z": "2026-11-23T20:00:00.123456Z",
    "2026-11-23T20:00:00.000000000Z": "2026-11-23T20:00:00.000000Z",
    f"2026-11-23T20:00:00.1{'0' * 99}Z": "2026-11-23T20:00:00.100000Z",
    "2026-11-23t20:00:00z": "2026-11-23T20:00:00.000000Z",
    "2026-11-23T22:00:00+02:00": "2026-11-23T20:00:00.000000Z",
    "2026-11-23T20:00:00-00:00": "2026-11-23T20:00:00.000000Z",
    "2026-11-23T20:00:00.123456789000+00:00": None,  # finer than microseconds
    "2026-11-24T19:59:00+23:59": "2026-11-23T20:00:00.000000Z",
    "2024-02-29T23:59:59.999999Z": "2024-02-29T23:59:59.999999Z",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00.000000Z",
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999Z",
}
REFUSED = {
    "2026-11-23T20:00:00.1234567Z": FINER,
    "2026-11-23T20:00:00.123456789Z": FINER,
    "2026-11-23T20:00:00.0000001Z": FINER,
    "2026-11-23T20:00:00.0000000000000000000001+02:00": FINER,
    "2016-12-31T23:59:60Z": LEAP,
    "2016-12-31T23:59:60.5Z": LEAP,
    "0000-01-01T00:00:00Z": NONE,
    "2026-02-29T00:00:00Z": NONE,
    "2026-11-23T20:00:61Z": NONE,
    "2026-13-01T00:00:00Z": NONE,
    "2026-00-01T00:00:00Z": NONE,
    "0001-01-01T00:00:00+00:01": NONE,
    "9999-12-31T23:59:59-00:01": NONE,
    "10000-01-01T00:00:00Z": FORM,
    "2026-11-23T24:00:00Z": FORM,
    "2026-11-23T20:60:00Z": FORM,
    "2026-11-23T20:00:00+24:00": FORM,
    "2026-11-23T20:00:00+02:60": FORM,
    "2026-11-23T20:00:00+0200": FORM,
    "2026-11-23T20:00:00+02": FORM,
    "2026-11-23 20:00:00Z": FORM,
    "2026-11-23T20:00:00": FORM,
    "2026-11-23T20:00Z": FORM,
    "2026-11-23": FORM,
    "2026-1-1T20:00:00Z": FORM,
    "2026-11-23T8:00:00Z": FORM,
    "2026-11-23T20:00:00,5Z": FORM,
    "2026-11-23T20:00:00.Z": FORM,
    "20261123T200000Z": FORM,
    "2026-W48-1T20:00:00Z": FORM,
    "1795000000": FORM,
    "now": FORM,
    " 2026-11-23T20:00:00Z": FORM,
    "2026-11-23T20:00:00Z\n": FORM,
    "٢٠٢٦-11-23T20:00:00Z": FORM,
    "2026-11-23T20:00:00\u212a": FORM,
}


def times_of_queries() -> list[tuple[str, str]]:
    """Every query parameter that is a time, by path, from the document."""
    return [
        (endpoint.path, name)
        for endpoint in ENDPOINTS
        for name, schema in endpoint.declared.query.model_json_schema().get("properties", {}).items()
        if name != BY_METADATA and '"date-time"' in str(schema).replace("'", '"')
    ]


def test_all_places_are_found() -> None:
    assert set(times_of_queries()) == {
        ("/v1/ledgers/{ledger}/accounts/{address}", "at"),
        ("/v1/ledgers/{ledger}/accounts/{address}/entries", "from"),
        ("/v1/ledgers/{ledger}/accounts/{address}/entries", "to"),
        ("/v1/ledgers/{ledger}/accounts/{address}/balance", "at"),
        ("/v1/ledgers/{ledger}/trial-balance", "at"),
        *(
            ("/v1/ledgers/{ledger}/transactions", f"{clock}_{bound}")
            for clock in ("recorded", "effective")
            for bound in ("from", "to")
        ),
        ("/v1/ledgers/{ledger}/events", "from"),
        ("/v1/ledgers/{ledger}/events", "to"),
        *((f"/v1/audit/{of}", bound) for of in ("events", "checkpoints") for bound in ("from", "to")),
    }


@pytest.mark.parametrize(("path", "name"), times_of_queries())
def test_parameters(book: Book, path: str, name: str) -> None:
    url = path.format(ledger=book.name, address="a")
    for text, meaning in TAKEN.items():
        answer = book.client.get(f"{url}?{name}={quote(text)}")
        if meaning is None:
            assert answer.json()["errors"] == [{"pointer": f"?{name}", "detail": FINER}]
        elif answer.status_code != 200:  # an account before it existed, or in the future
            assert name == "at" and "time of RFC" not in answer.text
    for text, why in REFUSED.items():
        answer = book.client.get(f"{url}?{name}={quote(text)}")
        assert answer.status_code == 422, text
        assert answer.json()["errors"] == [{"pointer": f"?{name}", "detail": why}], text


@pytest.mark.parametrize("path", ["trial-balance?at=", "events?from=", "transactions?effective_to="])
def test_a_plus_that_was_not_escaped_is_explained(book: Book, path: str) -> None:
    answer = book.client.get(f"{book.path}/{path}2026-11-23T22:00:00+02:00")
    (error,) = answer.json()["errors"]
    assert error["detail"] == f"{FORM}; in a query, + is written %2B"


@pytest.mark.parametrize("member", ["effective_at", "expires_at"])
def test_members(book: Book, member: str) -> None:
    body: dict[str, Any] = {**transfer_body(), "pending": member == "expires_at"}
    for text, why in REFUSED.items():
        answer = book.post({**body, member: text})
        assert answer.json()["errors"] == [{"pointer": f"/{member}", "detail": why}], text
    for text, meaning in TAKEN.items():
        answer = book.post({**body, member: text})
        if meaning is None:
            assert answer.json()["errors"] == [{"pointer": f"/{member}", "detail": FINER}]
        elif answer.status_code == 201:
            assert answer.json()[member] == meaning
        else:  # already over
            assert member == "expires_at" and meaning < "2027"
    reversed_at = book.reverse(
        book.transfer("a", "b", 1).json()["id"], {"effective_at": "2026-11-23T20:00:00.1234567Z"}
    )
    assert reversed_at.json()["errors"] == [{"pointer": "/effective_at", "detail": FINER}]
    for no_text in (5, True, [5], {"at": 5}):
        answer = book.post({**body, member: no_text})
        assert answer.json()["errors"] == [{"pointer": f"/{member}", "detail": "must be text"}]


def test_a_finer_fraction_of_zeros_is_kept_as_it_is_shown(book: Book) -> None:
    first = book.post({**transfer_body(), "effective_at": "2026-11-23T20:00:00.100000000Z"}, "k")
    assert first.json()["effective_at"] == "2026-11-23T20:00:00.100000Z"
    again = book.post({**transfer_body(), "effective_at": "2026-11-23T20:00:00.100000000Z"}, "k")
    assert (again.status_code, again.content) == (201, first.content)
