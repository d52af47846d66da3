"""The rules of api/README.md, Lists, for every list in the OpenAPI document."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from importlib import import_module
from operator import itemgetter
from pkgutil import iter_modules
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import pytest

from api import resources as routes
from api.app import create_app
from api.resources import ENDPOINTS
from api.settings import Settings
from tests import witnessed
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.serving import Served, serving
from tests.databases import Databases
from tests.projecting import append, eventually, unreadable_posting
from tests.standbys import is_of_placement

DOCUMENT = create_app(Settings(database_url="postgresql://nowhere")).openapi()

UNPAGED = {
    "list_installations": "as many as the operator has named, and each is asked whether it answers",
    "get_trial_balance": "a report: totals of each asset, of which there are few, and of which a part says nothing",
}


def members(schema: dict[str, Any]) -> dict[str, Any]:
    """The members of the object that a schema describes."""
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    properties: dict[str, Any] = schema.get("properties", {})
    return properties


FOUND = sorted(
    operation["operationId"]
    for operations in DOCUMENT["paths"].values()
    for operation in operations.values()
    for answer in operation["responses"].values()
    for content in answer.get("content", {}).values()
    if "data" in members(content.get("schema", {}))
)


class Listed(NamedTuple):
    """A list: its path, what tells its items apart, how one more is made, and a query that finds nothing.

    `others` are queries that select another list at the same path.
    """

    path: str
    names: tuple[str, ...]
    add: Callable[["Shop"], Any]
    nothing: str | None = None
    others: tuple[str, ...] = ()


class Shop(Book):
    """A separate service with a ledger that has some of everything that is listed."""

    def __init__(self, served: Served, client: httpx2.Client) -> None:
        super().__init__(client, "main")
        self.served = served
        # Signed checkpoints and witnessed logs are listed of home, and so is what is made of them here.
        with served.at_home():
            self.add_ledger("main")
        for address in ("a", "b", "c:d", "c:e", "alice"):
            self.open(address)
        self.hook = self.add_webhook()
        for _ in range(3):
            self.add_ledger()
            self.add_key()
            self.add_webhook()
            self.add_letter()
            self.add_witnessed()
            self.transfer("a", "b", 1)
            self.transfer("c:d", "c:e", 1)
            self.await_payout(self.pay_out(1).json()["id"], "completed")
            self.await_seal()
        self.wait()

    def wait(self) -> None:
        """Wait until everything written is listed."""

        def is_everywhere() -> bool:
            seen = self.client.get("/v1/projections").json()["data"]
            return all(projection["position"] == projection["head"] for projection in seen)

        eventually(is_everywhere)

    def await_seal(self) -> None:
        """Wait until everything written is signed, so that there is one more checkpoint."""
        position = self.client.get(self.path).headers["ledger-position"]
        path = f"/v1/audit/checkpoint?min_position={position}"
        assert self.client.get(path, headers={"Prefer": "wait=30"}).status_code == 200

    def add_ledger(self, name: str | None = None) -> None:
        made = self.client.post("/v1/ledgers", json={"name": name or f"l{uuid4().hex[:12]}"})
        assert made.status_code == 201

    def add_account(self) -> None:
        self.open(f"{uuid4().hex[:8]}:x")

    def add_key(self) -> None:
        body = {"name": uuid4().hex, "roles": ["client"], "ledgers": ["main"]}
        assert self.client.post("/v1/keys", json=body).status_code == 201

    def add_webhook(self) -> str:
        body = {"url": "https://93.184.216.34/", "ledgers": ["main"], "types": ["*"]}
        id: str = self.client.post("/v1/webhooks", json=body).json()["id"]
        return id

    def add_letter(self) -> None:
        with self.served.database.connect_as_owner("test owner") as owner:
            (recorded_at,) = owner.execute("SELECT recorded_at FROM head").fetchone() or ("",)
            state = unreadable_posting(recorded_at)
            append(owner, f"main/transactions/{uuid4()}", 1, "transaction.posted", state)

    def add_transfer(self) -> None:
        assert self.transfer("a", "b", 1).status_code == 201

    def add_payout(self) -> None:
        self.await_payout(self.pay_out(1).json()["id"], "completed")

    def add_witnessed(self) -> None:
        """Record a checkpoint of a log that has grown by one event."""
        with self.served.database.connect("test witness") as connection:
            witnessed.grow(connection)

    def add_nothing(self) -> None:
        """Nothing can be added to this list, but the content of its items changes."""
        self.add_transfer()


LISTS = {
    "list_ledgers": Listed("/v1/ledgers", ("name",), Shop.add_ledger),
    "list_accounts": Listed(
        "/v1/ledgers/main/accounts",
        ("address",),
        Shop.add_account,
        "prefix=nothing",
        ("prefix=a", "asset=USD/2", "status=open", "metadata.k=v"),
    ),
    "list_entries": Listed(
        "/v1/ledgers/main/accounts/a/entries",
        ("transaction_id", "position"),
        Shop.add_transfer,
        "to=2000-01-01T00:00:00Z",
        ("clock=effective", "from=2000-01-01T00:00:00Z"),
    ),
    "list_transactions": Listed(
        "/v1/ledgers/main/transactions",
        ("id",),
        Shop.add_transfer,
        "reference=nothing",
        ("kind=posting", "prefix=a"),
    ),
    "list_balances": Listed(
        "/v1/ledgers/main/balances?group_by=segment:2",
        ("group", "asset"),
        Shop.add_account,
        "prefix=nothing",
        ("group_by=segment:1", "prefix=a"),
    ),
    "list_payouts": Listed(
        "/v1/ledgers/main/payouts",
        ("id",),
        Shop.add_payout,
        "provider=nobody",
        ("state=completed", "account=alice"),
    ),
    "list_events": Listed(
        "/v1/ledgers/main/events", ("position",), Shop.add_transfer, "actor=nobody", ("account=a", "after=1")
    ),
    "list_trail": Listed(
        "/v1/audit/events", ("position",), Shop.add_key, "actor=nobody", ("type=key.made", "after=1")
    ),
    "list_checkpoints": Listed(
        "/v1/audit/checkpoints",
        ("size",),
        Shop.add_transfer,
        "to=2000-01-01T00:00:00Z",
        ("from=2000-01-01T00:00:00Z",),
    ),
    "list_witnessed": Listed("/v1/audit/witnesses/west/events", ("version",), Shop.add_witnessed),
    "list_keys": Listed("/v1/keys", ("id",), Shop.add_key),
    "list_projections": Listed("/v1/projections", ("name",), Shop.add_nothing),
    "list_dead_letters": Listed(
        "/v1/dead-letters", ("id",), Shop.add_letter, "state=superseded", ("state=open", "projection=entries")
    ),
    "list_stuck": Listed(
        "/v1/stuck?delivery_seconds=0", ("kind", "resource"), Shop.add_letter, None, ("delivery_seconds=1",)
    ),
    "list_webhooks": Listed("/v1/webhooks", ("id",), Shop.add_webhook),
    "list_deliveries": Listed(
        "/v1/webhooks/{hook}/deliveries", ("position",), Shop.add_transfer, "state=failed", ("state=pending",)
    ),
}


SPANNING = {of.declared.operation_id for of in ENDPOINTS if of.declared.spans_list}


@pytest.fixture(scope="module")
def shop(databases: Databases) -> Iterator[Shop]:
    """A separate service of this module, with some of everything."""
    with serving(databases) as served, served.client() as client:
        yield Shop(served, client)


class Shelf:
    """One list."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.shop = shop
        self.listed = LISTS[name]
        self.client = shop.client
        self.path = self.listed.path.format(hook=shop.hook)
        self.is_merged = is_of_placement() and name in SPANNING

    def ask(self, query: str = "", **more: Any) -> httpx2.Response:
        """Request a page. Parameters in `query` replace those that select the list."""
        path, _, own = self.path.partition("?")
        given = dict(part.split("=", 1) for part in [*own.split("&"), *query.split("&")] if part)
        return self.client.get(path, params={**given, **more})

    def page(self, query: str = "", **more: Any) -> dict[str, Any]:
        """Request a page and assert that it is there."""
        answer = self.ask(query, **more)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        of_all = {"unanswered", "reflected"} if self.is_merged else set()
        assert page.keys() - {"totals"} == {"data", "next_cursor"} | of_all
        assert page["next_cursor"] is None or page["next_cursor"]
        return page

    def names(self, page: dict[str, Any]) -> list[tuple[Any, ...]]:
        """The values that tell the items of a page apart."""
        of_each = ("installation",) if self.is_merged else ()
        return [tuple(item[name] for name in (*self.listed.names, *of_each)) for item in page["data"]]

    def pages(self, size: int, **query: Any) -> Iterator[list[tuple[Any, ...]]]:
        """The pages of the whole list, one after the other."""
        cursor: dict[str, str] = {}
        while True:
            page = self.page(page_size=size, **query, **cursor)
            assert len(page["data"]) <= size
            yield self.names(page)
            if page["next_cursor"] is None:
                return
            assert len(page["data"]) == size
            cursor = {"cursor": page["next_cursor"]}

    def whole(self, **query: Any) -> list[tuple[Any, ...]]:
        """The whole list on one page."""
        page = self.page(page_size=1000, **query)
        assert page["next_cursor"] is None
        return self.names(page)

    def cursor(self) -> str:
        """A cursor of the list."""
        cursor: str = self.page(page_size=1)["next_cursor"]
        return cursor


@pytest.fixture
def shelf(shop: Shop, request: pytest.FixtureRequest) -> Shelf:
    if request.param == "list_checkpoints":
        shop.await_seal()  # of what another test has written a moment ago
    return Shelf(shop, request.param)


each = pytest.mark.parametrize("shelf", sorted(LISTS), indirect=True)


def refused(answer: httpx2.Response) -> str:
    """The problem code of a refused cursor."""
    assert answer.status_code == 400, answer.text
    return code_of(answer)


def test_every_list_is_held_to_the_contract() -> None:
    assert set(FOUND) == LISTS.keys() | UNPAGED.keys()
    assert LISTS.keys() == {of.declared.operation_id for of in ENDPOINTS if of.declared.place is not None}


@each
def test_it_takes_what_lists_take(shelf: Shelf) -> None:
    path = shelf.listed.path.partition("?")[0].replace("{hook}", "{id}").replace("/main", "/{ledger}")
    parameters = DOCUMENT["paths"][path.replace("/a/", "/{address}/").replace("/west/", "/{log}/")]["get"][
        "parameters"
    ]
    names = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
    assert names >= {"page_size", "order", "cursor"}
    for other in shelf.listed.others:
        name = other.partition("=")[0]
        assert name in names or name.startswith("metadata.")


@each
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_are_the_list_without_gaps_or_repetitions(shelf: Shelf, size: int, order: str) -> None:
    whole = shelf.whole(order=order)
    assert len(whole) >= 3 and len(set(whole)) == len(whole)
    assert [name for page in shelf.pages(size, order=order) for name in page] == whole
    turned = shelf.whole(order="asc")[:: 1 if order == "asc" else -1]
    if shelf.is_merged:  # in either order, home is first of those at equal places
        assert set(whole) == set(turned)
        whole, turned = ([name[:-1] for name in names] for names in (whole, turned))
    assert whole == turned


def bound_pages(monkeypatch: pytest.MonkeyPatch, most_bytes: int) -> None:
    """Let pages hold so many bytes, and few rows be fetched at once."""
    monkeypatch.setattr("projections.engine.live_version.FETCHED_ROWS", 2)
    for name in (
        "api.http.pages",
        *(f"api.resources.{module.name}" for module in iter_modules(routes.__path__)),
    ):
        if hasattr(import_module(name), "PAGE_BYTES"):
            monkeypatch.setattr(f"{name}.PAGE_BYTES", most_bytes)
    monkeypatch.setattr("projections.read_models.event_history.CHUNK_BYTES", most_bytes)


@each
@pytest.mark.parametrize("most_bytes", [1, 1_500])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_that_end_early_are_the_list_as_well(
    shelf: Shelf, most_bytes: int, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shelf.page(page_size=1000, order=order)["data"][:40]
    bound_pages(monkeypatch, most_bytes)
    found: list[Any] = []
    cursor: dict[str, str] = {}
    while len(found) < len(whole):
        page = shelf.page(page_size=1000, order=order, **cursor)
        items = page["data"]
        assert items and (len(items) == 1 or len(json.dumps(items, separators=(",", ":"))) < most_bytes + 100)
        found += items
        assert len(found) >= 40 or (page["next_cursor"] is None) == (len(found) == len(whole))
        cursor = {"cursor": page["next_cursor"]}
    name_of = itemgetter(*shelf.listed.names)
    assert list(map(name_of, found))[: len(whole)] == list(map(name_of, whole))


def test_filters_of_transactions_lead_to_the_same_on_pages_that_end_early(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(1, 6):
        shop.transfer("a", "b", 1, effective_at=f"2026-01-0{day}T00:00:00Z")
        shop.transfer("a", "b", 2)
    shop.wait()
    shelf = Shelf(shop, "list_transactions")
    bounds = {"effective_from": "2026-01-02T00:00:00Z", "effective_to": "2100-01-01T00:00:00Z"}
    queries: list[dict[str, str]] = [
        bounds,
        {**bounds, "prefix": "a"},
        {"prefix": "c"},
        {**bounds, "account": "a"},
    ]
    wholes = [
        (query, order, shelf.whole(order=order, **query)) for query in queries for order in ("asc", "desc")
    ]
    bound_pages(monkeypatch, 1_500)
    monkeypatch.setattr("projections.read_models.transaction_list.CHUNK_POSITIONS", 2)
    for query, order, whole in wholes:
        found: list[tuple[Any, ...]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = shelf.page(page_size=3, order=order, **query, **({"cursor": cursor} if cursor else {}))
            assert page["data"]
            found += shelf.names(page)
            cursor = page["next_cursor"]
        assert len(whole) >= 3 and found == whole


@each
def test_oldest_first_is_what_it_is_without_an_order(shelf: Shelf) -> None:
    assert shelf.whole() == shelf.whole(order="asc")


@each
def test_the_last_page_says_so(shelf: Shelf) -> None:
    count = len(shelf.whole())
    assert shelf.page(page_size=count)["next_cursor"] is None
    assert shelf.page(page_size=count - 1)["next_cursor"] is not None


@each
@pytest.mark.parametrize("size", ["1001", "1000000", "9" * 30, "9" * 5000, "0001000"])
def test_more_than_a_thousand_is_taken_for_a_thousand(shelf: Shelf, size: str) -> None:
    assert shelf.names(shelf.page(page_size=size)) == shelf.whole()


@each
@pytest.mark.parametrize(
    ("size", "why"),
    [
        ("0", "must be at least 1"),
        ("-1", "must be at least 1"),
        ("-" + "9" * 5000, "must be at least 1"),
        *(
            (size, "must be a whole number")
            for size in ("", "abc", "1.0", "1e2", "+1", " 1", "1_0", "٣", "²", "1\0")
        ),
    ],
)
def test_other_sizes_are_refused(shelf: Shelf, size: str, why: str) -> None:
    answer = shelf.ask(page_size=size)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "?page_size", "detail": why}]


@each
@pytest.mark.parametrize("order", ["", "ASC", "down", "asc,desc", "\0"])
def test_other_orders_are_refused(shelf: Shelf, order: str) -> None:
    answer = shelf.ask(order=order)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "?order", "detail": "must be one of asc, desc"}]


@each
@pytest.mark.parametrize("with_cursor", [False, True])
def test_what_is_unknown_is_refused_with_what_is_known(shelf: Shelf, with_cursor: bool) -> None:
    cursor = {"cursor": shelf.cursor()} if with_cursor else {}
    answer = shelf.ask(limit="1", **cursor)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "?limit"
    for name in ("page_size", "cursor", "order"):
        assert name in error["detail"]


@each
@pytest.mark.parametrize("name", ["page_size", "cursor", "order", "limit"])
def test_what_is_given_twice_is_refused(shelf: Shelf, name: str) -> None:
    path, _, own = shelf.path.partition("?")
    answer = shelf.client.get(f"{path}?{own}&{name}=1&{name}=1")
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"?{name}"]


@each
def test_a_cursor_belongs_to_its_order_and_filters(shelf: Shelf) -> None:
    cursor = shelf.cursor()
    for other in ("order=desc", *shelf.listed.others):
        assert refused(shelf.ask(other, cursor=cursor)) == "cursor_mismatch", other
    assert shelf.ask("order=asc", cursor=cursor, page_size=7).status_code == 200


@each
def test_a_cursor_of_another_list_is_refused(shelf: Shelf) -> None:
    for other, listed in LISTS.items():
        if listed is not shelf.listed:
            code = refused(shelf.ask(cursor=Shelf(shelf.shop, other).cursor()))
            assert code in ("cursor_invalid", "cursor_mismatch")


def written(value: Any) -> str:
    """A cursor that holds this value, encoded as the service would."""
    text = value if isinstance(value, str) else json.dumps(value)
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


GARBAGE = [
    *("", "x", "nonsense", "é", "\0", "%", "null", "e30", "W10", "A" * 5000, "=", "====", "-_-_", " ", "a b"),
    *(
        written(text)
        for text in ("", "null", "1", '"x"', "{}", "[]", "[1]", "[1,2]", "[1,2,3]", "[[],[]]", "NaN")
    ),
    *(
        written(text)
        for text in ("[" * 5000, '["a"', '["\\ud800",1]', '{"a":1,"b":2}', '"ab"', "\0", "[,]", "1 2")
    ),
    written('["' + "x" * 100_000 + '",1]')[:6000],
]


@each
def test_garbage_is_no_cursor(shelf: Shelf) -> None:
    for cursor in GARBAGE:
        assert refused(shelf.ask(cursor=cursor)) == "cursor_invalid", cursor


# Values that no place of any list can have, in any part.
NEVER: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    1.5,
    1e300,
    2**63,
    -(2**63) - 1,
    10**400,
    "\0",
    "a\0b",
    [],
    {},
    [[]],
    {"a": 1},
    "é",
]
# Values that a place in some list may have. They must never cause a fault.
PERHAPS: list[Any] = [
    1,
    2**31,
    2**63 - 2,
    2**63 - 1,
    "",
    "x",
    "USD/2",
    "9" * 300,
    "2026-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
]
PERHAPS += [
    "9999-12-31T23:59:59.999999Z",
    "infinity",
    "epoch",
    str(uuid4()),
    str(uuid4()).upper(),
    "%",
    "'",
    "/v1/%00",
]


def places(place: Any, values: list[Any]) -> Iterator[Any]:
    """A list's place with each value in turn, as the whole place and as each of its parts."""
    yield from values
    if isinstance(place, list):
        for index in range(len(place)):
            for value in values:
                yield [*place[:index], value, *place[index + 1 :]]
    if isinstance(place, dict):  # the place in each installation
        for name, own in place.items():
            yield from ({**place, name: value} for value in places(own, values))


@each
def test_places_that_were_made_up_are_refused(shelf: Shelf) -> None:
    identity, place = json.loads(urlsafe_b64decode(shelf.cursor() + "=="))
    for other in (identity, "0123456789abcdef", ""):
        # Where no installation had anything yet, a merged list goes on from the beginning of each.
        for made_up in (of for of in places(place, NEVER) if not (shelf.is_merged and of == {})):
            assert refused(shelf.ask(cursor=written([other, made_up]))) == "cursor_invalid", made_up
    for wrong in (
        [place],
        [place, place, place],
        {"place": place},
        [identity, place, place],
        [identity],
        identity,
    ):
        assert refused(shelf.ask(cursor=written(wrong))) == "cursor_invalid", wrong
    for nobody in (value for value in NEVER if not isinstance(value, str)):
        assert refused(shelf.ask(cursor=written([nobody, place]))) == "cursor_invalid", nobody


@each
def test_places_of_the_right_form_are_no_fault(shelf: Shelf) -> None:
    identity, place = json.loads(urlsafe_b64decode(shelf.cursor() + "=="))
    for made_up in places(place, PERHAPS):
        for order in ("asc", "desc"):
            answer = shelf.ask(cursor=written([identity, made_up]), order=order)
            assert answer.status_code in (200, 400), (made_up, answer.text)


@each
def test_a_cursor_that_was_cut_off_or_changed_is_no_fault(shelf: Shelf) -> None:
    cursor = shelf.cursor()
    for length in range(1, len(cursor)):
        assert refused(shelf.ask(cursor=cursor[:length])) == "cursor_invalid"
    for more in ("!", " ", "\n", "\0", "é", "====", "*" + cursor):
        assert refused(shelf.ask(cursor=cursor + more)) == "cursor_invalid"
    for index in range(0, len(cursor), 3):
        changed = cursor[:index] + ("A" if cursor[index] != "A" else "B") + cursor[index + 1 :]
        answer = shelf.ask(cursor=changed)
        assert answer.status_code in (200, 400), changed


@each
def test_pages_stay_as_they_are_under_writes(shelf: Shelf) -> None:
    for order in ("asc", "desc"):
        before = shelf.whole(order=order)
        found: list[tuple[Any, ...]] = []
        for number, page in enumerate(shelf.pages(2, order=order)):
            found += page
            if number == 0:
                shelf.listed.add(shelf.shop)
                shelf.shop.wait()
        assert len(set(found)) == len(found)
        assert [name for name in found if name in before] == before


@each
def test_an_empty_list_is_a_list(shelf: Shelf) -> None:
    if shelf.listed.nothing is not None:
        page = shelf.page(shelf.listed.nothing)
        assert (page["data"], page["next_cursor"]) == ([], None)


# What a list takes beside its filters.
OF_PAGES = {"page_size", "cursor", "order", "min_position", "metadata"}
# Filters that are never empty, of which an empty one is refused.
NEVER_EMPTY = {
    "list_deliveries": {"state"},
    "list_entries": {"from", "to", "clock"},
    "list_events": {"after"},
    "list_trail": {"after"},
    "list_stuck": {
        *("request_seconds", "hold_seconds", "payout_seconds"),
        *("delivery_seconds", "projection_seconds", "session_seconds", "move_seconds"),
    },
}


def filters_of(name: str) -> set[str]:
    """The names of the filters of a list."""
    return parameters_of(name).keys() - OF_PAGES


def parameters_of(name: str) -> dict[str, dict[str, Any]]:
    """The parameters of a list by name, as the document has them."""
    return {
        parameter["name"]: parameter
        for operations in DOCUMENT["paths"].values()
        for operation in operations.values()
        if operation["operationId"] == name
        for parameter in operation["parameters"]
        if parameter["in"] == "query"
    }


@pytest.mark.parametrize("name", sorted(LISTS))
def test_the_document_says_which_filters_may_be_empty(name: str) -> None:
    may_be_empty = {each for each, shown in parameters_of(name).items() if shown.get("allowEmptyValue")}
    assert may_be_empty == filters_of(name) - NEVER_EMPTY.get(name, set())


@pytest.mark.parametrize("name", sorted(LISTS))
def test_an_empty_filter_filters_nothing(shop: Shop, name: str) -> None:
    shelf = Shelf(shop, name)
    path, _, own = shelf.path.partition("?")
    chosen = dict(part.split("=", 1) for part in own.split("&") if part)
    for parameter in filters_of(name) - NEVER_EMPTY.get(name, set()):
        without = {key: value for key, value in chosen.items() if key != parameter}
        whole, filtered = (
            shelf.client.get(path, params={**without, "page_size": 1000, **empty})
            for empty in ({}, {parameter: ""})
        )
        assert filtered.status_code == 200, parameter
        assert shelf.names(filtered.json()) == shelf.names(whole.json()) != [], parameter
        cursor = shelf.client.get(path, params={**without, "page_size": 1}).json()["next_cursor"]
        if cursor is not None:  # it is the same list
            again = shelf.client.get(path, params={**without, parameter: "", "cursor": cursor})
            assert again.status_code == 200, parameter


@pytest.mark.parametrize("name", sorted(NEVER_EMPTY))
def test_a_filter_that_is_never_empty_is_refused_where_it_is(shop: Shop, name: str) -> None:
    shelf = Shelf(shop, name)
    assert NEVER_EMPTY[name] <= filters_of(name)
    for parameter in NEVER_EMPTY[name]:
        answer = shelf.ask(**{parameter: ""})
        assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
        assert [error["pointer"] for error in answer.json()["errors"]] == [f"?{parameter}"]


@pytest.mark.parametrize("name", ["list_accounts", "list_transactions"])
def test_an_empty_value_of_metadata_is_a_value(shop: Shop, name: str) -> None:
    assert Shelf(shop, name).ask("metadata.nobody=").json()["data"] == []


@pytest.mark.skipif(is_of_placement(), reason="it is about a service without a placement")
@pytest.mark.parametrize("path", ["ledgers", "projections", "dead-letters", "stuck", "webhooks"])
def test_without_a_placement_the_only_installation_is_main(client: httpx2.Client, path: str) -> None:
    alone = client.get(f"/v1/{path}", params={"page_size": 1})
    named = client.get(f"/v1/{path}", params={"page_size": 1, "installation": "main"})
    for answer in (alone, named):
        assert answer.is_success and "ledger-installation" not in answer.headers
        body = answer.json()
        assert "unanswered" not in body and "reflected" not in body
        assert all("installation" not in item for item in body["data"])
    refused = client.get(f"/v1/{path}", params={"installation": "west"})
    assert pointers_of(refused) == ["?installation"]
    assert refused.json()["errors"][0]["detail"] == "must be one of main"
