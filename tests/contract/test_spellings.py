"""The many spellings of one request: which are equal, and which are not accepted."""

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from api.resources import ENDPOINTS
from tests.contract.answers import code_of
from tests.contract.books import Book, transfer_body
from tests.contract.serving import KEY, Served


class Wire:
    """Sends paths unchanged, which clients would normalise."""

    def __init__(self, served: Served) -> None:
        address = urlsplit(served.url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)

    def ask(
        self, path: str, method: str = "GET", body: Any = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the body."""
        sent = None if body is None else json.dumps(body)
        all_headers = {"Authorization": f"Bearer {KEY}", **headers}
        self._connection.request(method, path, sent, all_headers)
        answer = self._connection.getresponse()
        shown: dict[str, Any] = json.loads(answer.read() or b"{}")
        return answer.status, shown

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def wire(served: Served) -> Iterator[Wire]:
    opened = Wire(served)
    yield opened
    opened.close()


PATHS = sorted({endpoint.path for endpoint in ENDPOINTS})


def named(path: str, ledger: str) -> str:
    return re.sub(r"{(\w+)}", lambda found: ledger if found[1] == "ledger" else "x", path)


@pytest.mark.parametrize("path", PATHS)
def test_slashes_too_many_lead_nowhere(book: Book, wire: Wire, path: str) -> None:
    whole = named(path, book.name)
    others = [
        f"{whole}/",
        f"{whole}//",
        f"/{whole}",
        whole.replace("/v1/", "/v1//"),
    ]
    for other in others:
        if other != whole:
            for method in ("GET", "POST", "HEAD"):
                status, problem = wire.ask(other, method)
                assert status == 404, (method, other)
                assert method == "HEAD" or (problem["code"], problem["instance"]) == ("not_found", other)


def test_dots_are_names_like_others(book: Book, wire: Wire) -> None:
    assert wire.ask(f"{book.path}/accounts/..")[1]["code"] == "account_not_found"
    assert wire.ask("/v1/ledgers/..")[1]["code"] == "ledger_not_found"
    assert wire.ask("/v1/ledgers/../keys")[1]["code"] == "not_found"
    assert wire.ask("/docs/../livez")[0] == 404


def test_escapes_are_their_characters(book: Book, wire: Wire) -> None:
    book.open("users:alice")
    _, plain = wire.ask(f"{book.path}/accounts/users:alice")
    for path in (
        f"{book.path}/accounts/%75sers:alice",
        f"{book.path}/accounts/users%3Aalice",
        f"{book.path}/accounts/users%3aalice",
        f"{book.path}/%61ccounts/users:alice".replace("/v1/", "/%761/"),
        book.path.replace(book.name, "".join(f"%{ord(letter):02x}" for letter in book.name))
        + "/accounts/users:alice",
    ):
        assert wire.ask(path) == (200, plain), path


@pytest.mark.parametrize(
    "escape", ["%2F", "%2f", "%00", "%25", "%FF", "%C3%28", "%ED%A0%80", "%", "%zz", "%F4%90%80%80"]
)
def test_escapes_that_name_nothing(book: Book, wire: Wire, escape: str) -> None:
    for path, code in (
        (f"/accounts/a{escape}b", "account_not_found"),
        (f"/transactions/a{escape}b", "transaction_not_found"),
        (f"/operations/a{escape}b", "operation_unknown"),
        (f"/payouts/a{escape}b", "payout_not_found"),
    ):
        status, problem = wire.ask(book.path + path)
        assert (status, problem["code"]) == (404, code)
        assert problem["instance"] == book.path + path


@pytest.mark.parametrize(
    "key", ["k", "a:b", "100%", "%41", 'a"b', "a\\b", "a?b", "a#b", "a;b=c", "!~", "k.,+&="]
)
def test_a_request_is_found_by_its_key_escaped(book: Book, wire: Wire, key: str) -> None:
    book.transfer("a", "b", 1, key)
    everything = "".join(f"%{ord(sign):02X}" for sign in key)
    for path in (quote(key, safe=""), everything, everything.lower()):
        status, shown = wire.ask(f"{book.path}/operations/{path}")
        assert (status, shown["idempotency_key"]) == (200, key)
        assert wire.ask(f"{book.path}/operations/{path}/trace")[0] == 200


def test_the_same_request_at_a_path_with_escapes_is_a_replay(book: Book, wire: Wire) -> None:
    hold = book.hold("a", "b", 5).json()["id"]
    first = book.void(hold, key="k")
    escaped = "".join(f"%{ord(sign):02x}" for sign in hold.upper())
    path = f"{book.path}/transactions/{escaped}/void".replace("/ledgers/", "/l%65dgers/")
    assert wire.ask(path, "POST", {}, **{"Idempotency-Key": "k"}) == (201, first.json())


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/xml", "image/*", "*/*;q=0", "application/json;q=0", "nonsense", ";;,,", ""],
)
def test_json_is_what_there_is_whatever_is_accepted(book: Book, accept: str) -> None:
    made = book.client.post(
        f"{book.path}/transactions", json=transfer_body(), headers={"Idempotency-Key": "k", "Accept": accept}
    )
    assert (made.status_code, made.headers["content-type"]) == (201, "application/json")
    for path in ("", "/accounts", "/accounts/a", "/events"):
        answer = book.client.get(book.path + path, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    refused = book.client.get(f"{book.path}/accounts/nobody", headers={"Accept": accept})
    assert (refused.status_code, refused.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("header", ["bytes=0-1", "bytes=-1", "bytes=99999-", "items=0-1", "nonsense"])
def test_parts_of_an_answer_cannot_be_asked_for(book: Book, header: str) -> None:
    whole = book.account("a")
    answer = book.account("a", headers={"Range": header, "If-Range": whole.headers["etag"]})
    assert (answer.status_code, answer.content) == (200, whole.content)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(
    "prefer",
    [
        *(
            "",
            "wait",
            "wait=",
            "wait=x",
            "wait=1e9",
            "wait=--1",
            "wait=0",
            "WAIT = 0",
            'wait="0"',
            "wait=-5",
            ";",
            ",,",
        ),
        *("respond-async=0", "wait=0;foo", "handling=lenient, wait=0", "return=minimal", "x" * 5000),
    ],
)
def test_preferences_that_are_none_are_passed_over(book: Book, prefer: str) -> None:
    position = book.transfer("a", "b", 1).headers["ledger-position"]
    answer = book.client.get(f"{book.path}/accounts", headers={"Prefer": prefer})
    assert answer.status_code == 200
    waited = book.client.get(f"{book.path}/accounts?min_position={position}", headers={"Prefer": prefer})
    assert waited.status_code in (200, 503)
    assert book.post(transfer_body(), Prefer=prefer).status_code in (201, 202)


@pytest.mark.parametrize(
    "key",
    [
        "",
        '""',
        '"',
        '"a',
        "a b",
        '"a b"',
        "a/b",
        '"a/b"',
        "x" * 256,
        '"' + "x" * 256 + '"',
        "é",
        "k, k",
        '"k", "k"',
    ],
)
def test_keys_that_are_none(book: Book, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode())]
    answer = book.client.post(f"{book.path}/transactions", json=transfer_body(), headers=headers)
    assert (answer.status_code, code_of(answer)) == (400, "idempotency_key_invalid")


def test_a_key_given_twice_is_none(book: Book) -> None:
    headers = [("Idempotency-Key", "k"), ("Idempotency-Key", "k")]
    answer = book.client.post(f"{book.path}/transactions", json=transfer_body(), headers=headers)
    assert (answer.status_code, code_of(answer)) == (400, "idempotency_key_invalid")


TAGS = [
    ("*", 200),
    ('"{v}"', 200),
    ('"0", "{v}"', 200),
    ('"{v}","0"', 200),
    ('W/"{v}"', 412),  # weak tags never match here (RFC 9110 §13.1.1)
    ("{v}", 412),
    ("'{v}'", 412),
    ('"0{v}"', 412),
    ('"{v}', 412),
    ('""', 412),
    ("", 412),
    ('"0"', 412),
    ('"-1"', 412),
    ('"٣"', 412),
    ('"' + "9" * 5000 + '"', 412),
    ('"0", "1.0", W/"{v}"', 412),
]


@pytest.mark.parametrize(("tag", "status"), TAGS)
def test_versions_that_an_account_must_have(book: Book, tag: str, status: int) -> None:
    version = book.account("a").json()["version"]
    headers = [(b"If-Match", tag.format(v=version).encode())]
    changed = book.client.patch(f"{book.path}/accounts/a", json={"min_balance": -5}, headers=headers)
    assert changed.status_code == status
    version = book.account("a").json()["version"]
    headers = [(b"If-Match", tag.format(v=version).encode())]
    for verb in ("freeze", "unfreeze"):
        answer = book.client.post(f"{book.path}/accounts/a/{verb}", headers=headers)
        assert answer.status_code in (status, 412)
        assert (answer.status_code == 200) == (status == 200 and (verb == "freeze" or tag == "*"))


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        *(("*", 304), ('"{v}"', 304), ('W/"{v}"', 304), ('"x", W/"{v}"', 304), ('"x","{v}"', 304)),
        *(
            ("", 200),
            ("{v}", 200),
            ('"x"', 200),
            ('W/"x"', 200),
            ('w/"{v}"', 200),
            ('"{v}', 200),
            (",,,", 200),
        ),
    ],
)
def test_versions_that_are_known(book: Book, tag: str, status: int) -> None:
    id = book.transfer("a", "b", 1).json()["id"]
    for path in ("/accounts/a", f"/transactions/{id}"):
        version = book.client.get(book.path + path).json()["version"]
        answer = book.client.get(book.path + path, headers={"If-None-Match": tag.format(v=version)})
        assert answer.status_code == status
        assert bool(answer.content) == (status == 200)
