"""Who may do what, over every route in the OpenAPI document, including routes added later."""

import re
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import pytest
from structlog.testing import capture_logs

from api.app import create_app
from api.security.keys import ROLES
from api.service.request_log import RequestLog
from api.settings import Settings
from tests.contract.answers import code_of
from tests.contract.books import Book
from tests.contract.callers import Keys

DOCUMENT = create_app(Settings(database_url="postgresql://nowhere")).openapi()


class Operation(NamedTuple):
    """A route of the document."""

    id: str
    method: str
    path: str
    roles: frozenset[str]
    takes_body: bool

    def ask(self, client: httpx2.Client, ledger: str = "main", **names: str) -> httpx2.Response:
        """Request it, with an empty body if it takes one. Path names not given are `x`."""
        names = {"ledger": ledger, **names}
        path = re.sub(r"{(\w+)}", lambda found: names.get(found[1], "x"), self.path)
        if self.id in ("trace_conversation", "trace_everywhere"):
            path += "?correlation_id=x"
        return client.request(self.method, path, json={} if self.takes_body else None)


OPERATIONS = [
    Operation(
        operation["operationId"],
        method.upper(),
        path,
        frozenset(operation["x-roles"]),
        "requestBody" in operation,
    )
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if {"key": []} in operation["security"]
]
OF_A_LEDGER = [operation for operation in OPERATIONS if "{ledger}" in operation.path]


def each(operations: list[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", operations, ids=[operation.id for operation in operations])


def test_what_the_tests_go_by_is_in_the_document() -> None:
    assert {operation.path for operation in OPERATIONS} == {
        path
        for path in DOCUMENT["paths"]
        if path == "/metrics" or (path.startswith("/v1/") and not path.endswith("/callbacks"))
    }
    assert {operation.path for operation in OF_A_LEDGER} == {
        path for path in DOCUMENT["paths"] if path.startswith("/v1/ledgers/")
    }


@each(OPERATIONS)
def test_each_role_has_the_routes_that_it_is_for(operation: Operation) -> None:
    assert operation.roles and operation.roles <= set(ROLES)
    assert ("auditor" in operation.roles) == (operation.method == "GET")
    if "client" in operation.roles:
        assert operation.path.startswith(("/v1/ledgers", "/v1/trace"))


@pytest.mark.parametrize("role", ROLES)
@each(OPERATIONS)
def test_a_role_is_let_in_exactly_where_the_document_says(
    keys: Keys, operation: Operation, role: str
) -> None:
    answer = operation.ask(keys.client(role, ledgers=["*"]))
    assert answer.status_code != 401
    assert (answer.status_code == 403) == (role not in operation.roles)
    if answer.status_code == 403:
        assert code_of(answer) == "forbidden"


@each(OF_A_LEDGER)
def test_a_ledger_not_granted_looks_the_same_whether_it_exists_or_not(
    book: Book, keys: Keys, operation: Operation
) -> None:
    client = keys.client(*ROLES, ledgers=["another", f"{book.name}x", book.name[:-1]])
    shown = []
    for name in (book.name, f"l{uuid4().hex[:12]}", "%6d%61in", "No-Name"):
        answer = operation.ask(client, name)
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")
        problem = answer.json()
        shown.append({key: problem[key] for key in problem.keys() - {"instance", "correlation_id"}})
    assert shown == shown[:1] * len(shown)


@pytest.fixture
def theirs(client: httpx2.Client) -> dict[str, str]:
    """The names of things in another ledger, and a mark that each of them carries."""
    ledger, mark = f"l{uuid4().hex[:12]}", f"mark-{uuid4().hex}"
    metadata = {"mark": mark}
    client.post("/v1/ledgers", json={"name": ledger, "metadata": metadata})
    book = Book(client, ledger)
    for address in ("theirs:a", "theirs:b"):
        book.open(address, metadata=metadata)
    made = book.transfer("theirs:a", "theirs:b", 1, mark, reference=mark, metadata=metadata)
    reached = {"min_position": made.headers["ledger-position"]}
    for path in ("/v1/ledgers", f"{book.path}/accounts", f"{book.path}/accounts/theirs:a/entries"):
        assert client.get(path, params=reached).status_code == 200
    return {"ledger": ledger, "mark": mark, "address": "theirs:a", "id": made.json()["id"], "key": mark}


def test_what_is_in_another_ledger_is_not_found_in_this_one(
    book: Book, keys: Keys, theirs: dict[str, str]
) -> None:
    names = {name: theirs[name] for name in ("address", "id", "key")}
    mine, owners = (
        keys.client("client", "auditor", ledgers=[ledger]) for ledger in (book.name, theirs["ledger"])
    )
    visible = set()
    for operation in OPERATIONS:
        if operation.method != "GET" or not operation.path.startswith("/v1/ledgers"):
            continue
        # A problem's instance is the path, so the mark in it comes from the request.
        answer = operation.ask(mine, book.name, **names)
        assert answer.status_code in (200, 404), operation
        # A problem about an unknown key names that key.
        asked = answer.text.replace(f"/{names['key']}", "").replace(f'"idempotency_key":"{names["key"]}"', "")
        assert theirs["mark"] not in asked.replace(f"key {names['key']}", ""), operation
        if theirs["mark"] in operation.ask(owners, theirs["ledger"], **names).text:
            visible.add(operation.id)
    assert visible >= {"list_ledgers", "get_ledger", "list_accounts", "get_account", "get_transaction"}


def test_pages_of_ledgers_tell_nothing_of_those_between(
    book: Book, keys: Keys, theirs: dict[str, str], client: httpx2.Client
) -> None:
    position = client.get(book.path).headers["ledger-position"]
    first: dict[str, str | int] = {"page_size": 1, "min_position": position}
    shown = keys.client("client", ledgers=[book.name]).get("/v1/ledgers", params=first).json()
    assert [ledger["name"] for ledger in shown["data"]] == [book.name]
    assert shown["next_cursor"] is None
    nothing = keys.client("client", ledgers=["nowhere"]).get("/v1/ledgers", params=first).json()
    assert nothing == {"data": [], "next_cursor": None}


def test_a_cursor_of_someone_else_opens_no_ledger(
    book: Book, keys: Keys, theirs: dict[str, str], client: httpx2.Client
) -> None:
    cursor = client.get("/v1/ledgers?page_size=1").json()["next_cursor"]
    narrow = keys.client("client", ledgers=[theirs["ledger"]])
    seen = narrow.get("/v1/ledgers", params={"page_size": 1, "cursor": cursor}).json()["data"]
    assert [ledger["name"] for ledger in seen] == [theirs["ledger"]]


def denials(ask: Callable[[httpx2.Client], httpx2.Response], client: httpx2.Client) -> Any:
    """The log of a denied request. It must never contain the key."""
    conversation = f"denied-{uuid4().hex}"
    client.headers["Correlation-Id"] = conversation
    with capture_logs() as logged:
        answer = ask(client)
    assert answer.status_code in (401, 403)
    assert answer.json()["correlation_id"] == conversation
    key = client.headers.get("Authorization", "Bearer none").partition(" ")[2]
    assert key not in str(logged)
    mine: list[MutableMapping[str, Any]] = [
        line for line in logged if line.get("correlation_id") == conversation
    ]
    for line in mine:
        assert (line["event"], line["log_level"]) == ("denied", "warning")
        assert line["method"] == answer.request.method
        assert line["path"] == answer.request.url.path
        assert line["code"] == code_of(answer)
    return [(line["code"], line.get("actor")) for line in mine]


@pytest.fixture
def each_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What repeats a denial is logged as well, instead of being counted for a minute."""
    monkeypatch.setattr(RequestLog, "seconds", 0.0)


@pytest.mark.usefixtures("each_is_logged")
@pytest.mark.parametrize("key", [None, "tk_of_nobody"])
@each(OPERATIONS)
def test_who_is_not_known_is_logged(keys: Keys, operation: Operation, key: str | None) -> None:
    assert denials(operation.ask, keys.client_with(key)) == [("unauthenticated", None)]


@each([operation for operation in OPERATIONS if operation.roles != set(ROLES)])
def test_who_lacks_the_role_is_logged_by_name(keys: Keys, operation: Operation) -> None:
    lacking = sorted(set(ROLES) - operation.roles)
    client = keys.client(*lacking, ledgers=["*"])
    assert denials(operation.ask, client) == [("forbidden", keys.last_name)]


@each(OF_A_LEDGER)
def test_who_was_not_granted_the_ledger_is_logged_by_name(keys: Keys, operation: Operation) -> None:
    client = keys.client(*ROLES, ledgers=["another"])
    assert denials(operation.ask, client) == [("forbidden", keys.last_name)]


def test_who_would_grant_too_much_is_logged_by_name(keys: Keys) -> None:
    other = keys.make("client", ledgers=["*"])
    body = {"name": "more", "roles": ["client"], "ledgers": ["*"]}
    asked: list[Callable[[httpx2.Client], httpx2.Response]] = [
        lambda client: client.post("/v1/keys", json=body),
        lambda client: client.post(f"/v1/keys/{other['id']}/rotate", json={}),
        lambda client: client.post("/v1/ledgers", json={"name": "new"}),
    ]
    for ask in asked:
        client = keys.client("client", "operator", ledgers=["granted"])
        assert denials(ask, client) == [("forbidden", keys.last_name)]
