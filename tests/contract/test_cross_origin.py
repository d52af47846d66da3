"""Calls from pages of other origins: allowed if a setting says so, and then for every kind of answer."""

from collections.abc import Iterator

import httpx2
import pytest
from pydantic import ValidationError

from api.http.cross_origin import ANSWER_HEADERS, REQUEST_HEADERS
from api.http.openapi import HEADERS
from api.resources import ENDPOINTS
from api.settings import Settings
from tests.contract.answers import code_of
from tests.contract.serving import KEY, Served, serving
from tests.databases import Databases

ORIGIN = "https://books.example.com"
OTHER = "http://localhost:3000"
PREFLIGHT = {"Access-Control-Request-Method": "POST"}


@pytest.fixture(scope="module")
def open_service(databases: Databases) -> Iterator[Served]:
    """A service that pages of two origins may call."""
    with serving(databases, cors_origins=f"{ORIGIN}, {OTHER}") as served:
        yield served


@pytest.fixture
def page(open_service: Served) -> Iterator[httpx2.Client]:
    """The headers a page of an allowed origin sends."""
    with open_service.client() as client:
        client.headers["Origin"] = ORIGIN
        yield client


@pytest.fixture
def browser(open_service: Served) -> Iterator[httpx2.Client]:
    """A client that sends what a browser sends by itself: no key. Its answers are not checked against the document."""
    with httpx2.Client(base_url=open_service.url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("origin", [ORIGIN, OTHER])
@pytest.mark.parametrize("path", [*sorted({endpoint.path for endpoint in ENDPOINTS}), "/nothing"])
def test_a_browser_may_ask_first(browser: httpx2.Client, origin: str, path: str) -> None:
    wanted = {"Access-Control-Request-Headers": ", ".join(REQUEST_HEADERS).lower()}
    answer = browser.options(path, headers={"Origin": origin, **PREFLIGHT, **wanted})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in answer.headers
    allowed = answer.headers["access-control-allow-methods"].split(", ")
    assert {endpoint.declared.method for endpoint in ENDPOINTS} | {"HEAD"} == set(allowed)
    assert set(REQUEST_HEADERS) <= set(answer.headers["access-control-allow-headers"].split(", "))
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "Origin" in answer.headers["vary"]
    assert answer.headers["correlation-id"] and answer.headers["traceparent"]
    assert not [name for name in answer.headers if name.startswith("ledger-")]


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "http://books.example.com", f"{ORIGIN}.evil.com", "null"]
)
def test_other_origins_are_not_let_in(page: httpx2.Client, browser: httpx2.Client, origin: str) -> None:
    asked = browser.options("/v1/ledgers", headers={"Origin": origin, **PREFLIGHT})
    answered = page.get("/v1/ledgers", headers={"Origin": origin})
    for answer in (asked, answered):
        assert answer.status_code < 300
        assert "access-control-allow-origin" not in answer.headers
        assert "Origin" in answer.headers["vary"]


def test_answers_can_be_read(page: httpx2.Client) -> None:
    answer = page.post("/v1/ledgers", json={"name": "main"})
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["vary"] == "Origin"
    exposed = {name.lower() for name in answer.headers["access-control-expose-headers"].split(", ")}
    assert {name.lower() for name in HEADERS} <= exposed
    for name in ("Ledger-Position", "Ledger-Head", "ETag", "Location", "Retry-After", "Idempotent-Replayed"):
        assert name.lower() in exposed
    for name in ("Correlation-Id", "Dry-Run", "WWW-Authenticate", "Allow"):
        assert name.lower() in exposed
    # Pages may see all other headers of an answer anyway, or do not need them.
    usual = {"date", "server", "content-length", "content-type", "vary", "cache-control"}
    own = {name for name in answer.headers if not name.startswith("access-control-")}
    assert own <= exposed | usual


def test_refusals_can_be_read_too(page: httpx2.Client, browser: httpx2.Client) -> None:
    refusals = [
        (page.get("/nothing"), 404),
        (page.delete("/v1/ledgers"), 405),
        (page.get("/v1/ledgers", headers={"Authorization": "Bearer tk_nobody"}), 401),
        (page.get("/v1/ledgers/nosuch"), 404),
        (page.get("/v1/ledgers?limit=1"), 422),
        (page.post("/v1/ledgers", content=b"{"), 400),
        (page.post("/v1/ledgers", content=b"{", headers={"Content-Type": "text/plain"}), 415),
        (page.options("/v1/ledgers"), 405),  # browsers never send this
        (browser.get("/v1/ledgers", headers={"Origin": ORIGIN}), 401),
        (browser.head("/v1/ledgers", headers={"Origin": ORIGIN}), 401),
    ]
    for answer, status in refusals:
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-expose-headers" in answer.headers


def test_a_fault_of_ours_can_be_read_too(page: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    page.post("/v1/ledgers", json={"name": "main"})
    monkeypatch.setattr("domain.application.LedgerApplication.ledger", fail)
    answer = page.get("/v1/ledgers/main")
    assert (answer.status_code, code_of(answer)) == (500, "internal_error")
    assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_who_is_no_browser_is_served_as_before(open_service: Served) -> None:
    with open_service.client() as client:
        answer = client.get("/v1/ledgers")
        assert answer.status_code == 200 and answer.headers["vary"] == "Origin"
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert client.options("/v1/ledgers").status_code == 405


def test_every_origin_can_be_let_in(databases: Databases) -> None:
    with (
        serving(databases, cors_origins="*") as served,
        httpx2.Client(base_url=served.url, trust_env=False) as client,
    ):
        asked = client.options("/v1/keys", headers={"Origin": "https://any.example", **PREFLIGHT})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, "*")
        key = {"Authorization": f"Bearer {KEY}", "Origin": "https://any.example", "Cookie": "a=b"}
        answer = client.get("/v1/keys", headers=key)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert "access-control-allow-credentials" not in answer.headers


def test_no_origin_is_let_in_unless_it_is_set(client: httpx2.Client) -> None:
    asked = client.options("/v1/ledgers", headers={"Origin": ORIGIN, **PREFLIGHT})
    assert (asked.status_code, asked.headers["allow"]) == (405, "GET, HEAD, POST")
    answer = client.get("/v1/ledgers", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control-") or name == "vary"]


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", []),
        (" ", []),
        ("*", ["*"]),
        ("https://a.example", ["https://a.example"]),
        (
            "https://a.example,http://localhost:3000 , http://[::1]:8080,",
            ["https://a.example", "http://localhost:3000", "http://[::1]:8080"],
        ),
        ("https://a.example:8443", ["https://a.example:8443"]),
    ],
)
def test_origins_that_can_be_set(text: str, origins: list[str]) -> None:
    assert Settings(cors_origins=text).allowed_origins == origins


@pytest.mark.parametrize(
    "text",
    [
        "a.example",
        "https://a.example/",
        "https://a.example/path",
        "https://A.example",
        "https://*.a.example",
        "https://a.example:443",
        "http://a.example:80",
        "https://user@a.example",
        "*, https://a.example",
        "null",
        "ftp://a.example",
        "https://",
        "https://a.example https://b.example",
    ],
)
def test_origins_that_no_browser_sends_are_refused_at_start(text: str) -> None:
    with pytest.raises(ValidationError, match="must be origins as browsers send them"):
        Settings(cors_origins=text)


def test_every_header_of_an_answer_is_named_once() -> None:
    assert len({name.lower() for name in ANSWER_HEADERS}) == len(ANSWER_HEADERS)
