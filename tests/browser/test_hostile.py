"""What an outsider, a careless operator or an unlucky name tries: no answer without its protection, no wrong page."""

import html
import re
from collections.abc import Mapping

import httpx2
import pytest

from tests.browser.browsing import session_of
from tests.contract.books import Book
from tests.contract.serving import KEY, Served

pytestmark = pytest.mark.browser

PROTECTION = {
    "content-security-policy": "default-src 'self'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
ODD_KEYS = ["a?b=c", "a#b", "a%2Fb", "a%b", "a&b", "a+b", 'a"b', "a'b", "<script>", "a;b", "a\\b", "{id}"]


@pytest.fixture
def held(book: Book) -> str:
    """A hold of 77 minor units, and a few accounts to post between."""
    for address, side in (("bank", "debit"), ("alice", "credit")):
        if book.account(address).status_code == 404:
            book.open(address, normal_side=side)
    answer = book.hold("bank", "alice", 77)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def hidden_fields(page: str) -> dict[str, str]:
    """Return the hidden fields of the form in a page's content."""
    main = page[page.index("<main") :]
    pairs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', main)
    return {name: html.unescape(value) for name, value in pairs}


def links(page: str) -> list[str]:
    """Return the addresses that a page leads to."""
    return [html.unescape(address) for address in re.findall(r'<a [^>]*href="([^"]+)"', page)]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/console/nothing", 404),
        ("GET", "/console/static/x/nothing.js", 404),
        ("PUT", "/console", 405),
        ("DELETE", "/console/keys", 405),
        ("POST", "/console/ledgers", 404),
        ("GET", "/console/ledgers/main/events/0", 404),
        ("GET", "/console/ledgers/main/accounts?status=odd", 422),
        ("GET", "/console/sign-out", 303),
    ],
)
def test_every_answer_is_protected(served: Served, method: str, path: str, status: int) -> None:
    with session_of(served.url) as client:
        answer = client.request(method, path)
    assert answer.status_code == status
    for name, value in PROTECTION.items():
        assert value in answer.headers[name]


def test_a_fault_is_a_protected_page_as_well(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with session_of(served.url) as client:
        monkeypatch.setattr("api.console.showing.navigation", fail)
        answer = client.get("/console/ledgers")
    assert answer.status_code == 500
    assert "<h1>Internal error</h1>" in answer.text
    assert "ZeroDivisionError" not in answer.text
    for name, value in PROTECTION.items():
        assert value in answer.headers[name]


def test_only_this_releases_files_are_kept_by_browsers(served: Served) -> None:
    with session_of(served.url) as client:
        (own,) = set(re.findall(r"/console/static/\w+/console\.css", client.get("/console").text))
        assert "immutable" in client.get(own).headers["cache-control"]
        other = client.get("/console/static/0123456789ab/console.css")
    assert other.status_code == 200
    assert other.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("beside", ['odd={"a":[1]}; ', "x y=z; ", "=; ", 'a="b;c"; '])
def test_odd_cookies_of_other_programs_end_no_session(served: Served, beside: str) -> None:
    with session_of(served.url) as client:
        token = client.cookies["tallystick_session"]
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False) as client:
        answer = client.get("/console", headers={"cookie": f"{beside}tallystick_session={token}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("key", ODD_KEYS)
def test_whatever_stands_in_a_key_its_links_lead_to_its_story(
    served: Served, book: Book, held: str, key: str
) -> None:
    made = book.transfer("bank", "alice", 5, key, reference=key)
    assert made.status_code in (200, 201), made.text
    with session_of(served.url) as client:
        page = client.get(f"/console/ledgers/main/transactions/{made.json()['id']}").text
        (story, *_) = [address for address in links(page) if "/operations/" in address]
        answer = client.get(story)
        again = client.get("/console/open", params={"q": key, "ledger": "main"})
    assert answer.status_code == 200, story
    assert f"<h1>Request {html.escape(key, quote=False)}" in answer.text.replace("&#34;", '"').replace(
        "&#39;", "'"
    )
    assert again.status_code == 303
    assert again.headers["location"] == story


@pytest.mark.parametrize("key", ["a%2Fb", "%C3%A9", "a" * 256, "a%20b"])
def test_what_can_be_no_key_is_never_said_to_be_unused(served: Served, key: str) -> None:
    with session_of(served.url) as client:
        answer = client.get(f"/console/ledgers/main/operations/{key}")
    assert answer.status_code == 404
    assert "is safe" not in answer.text
    assert "no idempotency key" in answer.text


def test_an_action_says_again_what_would_happen_before_it_is_sent(
    served: Served, book: Book, held: str
) -> None:
    path = f"/console/ledgers/main/transactions/{held}/settle"
    with session_of(served.url) as client:
        form = hidden_fields(client.get(path).text)
        tried = client.post(path, data={**form, "amount": "30", "try": "yes"})
        assert "0.30" in tried.text
        assert 'value="30"' in tried.text
        assert book.client.get(f"/v1/ledgers/main/transactions/{held}").json()["status"] == "pending"
        assert client.post(path, data={**hidden_fields(tried.text), "amount": "30"}).status_code == 303
        assert client.post(path, data={**hidden_fields(tried.text), "amount": "30"}).status_code == 303
        other = client.post(path, data={**hidden_fields(tried.text), "amount": "31"})
    assert other.status_code == 422
    assert "What became of that" in other.text


@pytest.mark.parametrize("sent", [{"reference": "x"}, {"csrf": "0" * 64}])
def test_an_action_without_its_sessions_token_changes_nothing(
    served: Served, book: Book, held: str, sent: Mapping[str, str]
) -> None:
    path = f"/console/ledgers/main/transactions/{held}/void"
    with session_of(served.url) as client, session_of(served.url) as another:
        form = {**hidden_fields(client.get(path).text), **sent}
        if "csrf" in sent:
            assert client.post(path, data=form).status_code == 403
        assert another.post(path, data=form).status_code == 403
        assert client.post(path, json=form).status_code == 415
        assert client.get(path, params=form).status_code == 200
        assert client.head(path, params=form).status_code == 200
    assert book.client.get(f"/v1/ledgers/main/transactions/{held}").json()["status"] == "pending"


def test_an_action_names_the_thing_that_it_is_about(served: Served) -> None:
    with served.client() as api, session_of(served.url) as client:
        made = api.post("/v1/keys", json={"name": "<b>spare", "roles": ["operator"], "ledgers": []}).json()
        page = client.get(f"/console/keys/{made['id']}/revoke").text
        assert "<dd>&lt;b&gt;spare</dd>" in page
        assert "no account" in client.get("/console/ledgers/main/accounts/nobody/close").text
        api.delete(f"/v1/keys/{made['id']}")


def test_a_key_of_one_ledger_finds_nothing_of_another_on_any_page(
    served: Served, book: Book, held: str
) -> None:
    with served.client() as api:
        api.post("/v1/ledgers", json={"name": "hidden-ledger"})
        other = Book(api, "hidden-ledger")
        if other.account("treasure").status_code == 404:
            other.open("treasure")
        wanted = {"name": "narrow", "roles": ["client", "auditor", "operator"], "ledgers": ["main"]}
        made = api.post("/v1/keys", json=wanted).json()
    pages, seen = ["/console"], set[str]()
    with session_of(served.url, made["key"]) as client:
        while pages and len(seen) < 60:
            address = pages.pop(0)
            if address in seen or not address.startswith("/console"):
                continue
            seen.add(address)
            answer = client.get(address)
            assert answer.status_code < 500, address
            assert "hidden-ledger" not in answer.text, address
            assert "treasure" not in answer.text, address
            if answer.headers.get("content-type", "").startswith("text/html"):
                pages += links(answer.text)
        assert len(seen) > 30
        assert "The books that you may read balance" in client.get("/console").text
        assert client.get("/console/ledgers/hidden-ledger/accounts").status_code == 403
    with served.client() as api:
        api.delete(f"/v1/keys/{made['id']}")


def test_signing_in_with_a_key_that_ended_is_refused(served: Served) -> None:
    with served.client() as api:
        made = api.post("/v1/keys", json={"name": "ended", "roles": ["operator"], "ledgers": []}).json()
        api.delete(f"/v1/keys/{made['id']}")
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False) as client:
        assert client.post("/console/sign-in", data={"key": made["key"]}).status_code == 403
        assert client.post("/console/sign-in", data={"key": KEY}).status_code == 303
