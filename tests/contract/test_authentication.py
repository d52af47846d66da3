"""Who may call: keys, roles, grants."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from pydantic import SecretStr

from api.security.keys import ensure_bootstrap_key
from api.service import key_cache
from domain.journal.database import Database
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.serving import KEY

BODIES: dict[str, Any] = {"POST": {}, "PATCH": {}}
OF_A_LEDGER = [
    ("GET", ""),
    ("POST", "/accounts"),
    ("GET", "/accounts"),
    ("GET", "/accounts/a"),
    ("PATCH", "/accounts/a"),
    ("GET", "/accounts/a/entries"),
    ("POST", "/transactions"),
    ("GET", "/transactions/x"),
    ("GET", "/operations/x"),
]
OF_ALL = [
    ("POST", "/v1/ledgers"),
    ("GET", "/v1/ledgers"),
    ("POST", "/v1/keys"),
    ("GET", "/v1/keys"),
    ("DELETE", "/v1/keys/x"),
    ("GET", "/v1/projections"),
    ("GET", "/v1/projections/balances"),
]
EVERYTHING = [*OF_ALL, *((method, "/v1/ledgers/main" + path) for method, path in OF_A_LEDGER)]


def ask(client: httpx2.Client, method: str, path: str) -> httpx2.Response:
    return client.request(method, path, json=BODIES.get(method))


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic dTpw", KEY, f"Bearer {KEY}x", "Bearer é"])
def test_without_a_valid_key(keys: Keys, method: str, path: str, header: str | None) -> None:
    client = keys.client_with(None)
    if header is not None:
        client.headers = httpx2.Headers([(b"Authorization", header.encode())])
    answer = ask(client, method, path)
    assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="tallystick"')


def test_the_scheme_is_not_case_sensitive(keys: Keys) -> None:
    client = keys.client_with(None)
    assert client.get("/v1/keys", headers={"Authorization": f"bearer {KEY}"}).status_code == 200


@pytest.mark.parametrize(
    "values",
    [
        (f"Bearer {KEY}", f"Bearer {KEY}"),
        (f"Bearer {KEY}", "bearer tk_another"),
        ("Basic dTpw", f"Bearer {KEY}"),
        (f"Bearer {KEY}", "Basic dTpw"),
        ("Bearer", f"Bearer {KEY}"),
        (f"Bearer {KEY},Bearer {KEY}",),
    ],
)
def test_two_keys_at_once_are_none(keys: Keys, values: tuple[str, ...]) -> None:
    headers = [("Authorization", value) for value in values]
    answer = keys.client_with(None).get("/v1/keys", headers=headers)
    assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
    assert answer.json()["detail"] == "The Authorization header was given 2 times; give it once."
    assert KEY not in answer.text


@pytest.mark.parametrize("value", ["Bearer tk_nobody", "Bearer tk_a, tk_b", "Bearer tk_a,Bearers"])
def test_one_key_that_is_not_valid_is_not_called_two(keys: Keys, value: str) -> None:
    answer = keys.client_with(None).get("/v1/keys", headers={"Authorization": value})
    assert (answer.status_code, answer.json()["detail"]) == (401, "This key is not valid.")


ALLOWED = {
    "client": {"GET", "POST", "PATCH"},
    "auditor": {"GET"},
    "operator": set[str](),
}


@pytest.mark.parametrize(("method", "path"), OF_A_LEDGER)
@pytest.mark.parametrize("role", ALLOWED)
def test_roles_on_a_ledger(book: Book, keys: Keys, role: str, method: str, path: str) -> None:
    answer = ask(keys.client(role, ledgers=[book.name]), method, f"{book.path}{path}")
    assert (answer.status_code == 403) == (method not in ALLOWED[role])


@pytest.mark.parametrize(
    ("role", "ledgers", "allowed"),
    [
        ("client", ["*"], {("POST", "/v1/ledgers"), ("GET", "/v1/ledgers")}),
        ("client", ["main"], {("GET", "/v1/ledgers")}),
        (
            "auditor",
            ["*"],
            {
                ("GET", "/v1/ledgers"),
                ("GET", "/v1/keys"),
                ("GET", "/v1/projections"),
                ("GET", "/v1/projections/balances"),
            },
        ),
        ("operator", ["*"], set(OF_ALL[2:])),
        ("operator", [], set(OF_ALL[2:])),
    ],
)
def test_roles_beyond_ledgers(
    keys: Keys, role: str, ledgers: list[str], allowed: set[tuple[str, str]]
) -> None:
    client = keys.client(role, ledgers=ledgers)
    for method, path in OF_ALL:
        answer = ask(client, method, path)
        assert (answer.status_code == 403) == ((method, path) not in allowed), (method, path)


def test_a_key_is_shown_once(keys: Keys, client: httpx2.Client) -> None:
    made = keys.make("client", "auditor", ledgers=["main", "other"])
    assert set(made) == {"id", "name", "roles", "ledgers", "key"}
    assert made["key"].startswith("tk_") and len(made["key"]) == 46
    listed = client.get("/v1/keys?order=desc&page_size=1000")
    assert made["key"] not in listed.text
    shown = next(key for key in listed.json()["data"] if key["id"] == made["id"])
    assert shown.items() >= {name: made[name] for name in ("id", "name", "roles", "ledgers")}.items()


def test_only_a_hash_of_a_key_is_kept(served: Any, keys: Keys) -> None:
    made = keys.make("client", ledgers=["main"])
    with served.database.connect("test") as connection:
        rows = connection.execute("SELECT api_keys::text FROM api_keys").fetchall()
    assert not any(made["key"] in row[0] for row in rows)


def test_the_name_of_a_key_is_the_actor(book: Book, keys: Keys) -> None:
    shop = Book(keys.client("client", ledgers=[book.name]), book.name)
    assert shop.transfer("a", "b", 1).json()["actor"] == keys.last_name


@pytest.mark.parametrize("ledgers", [["*"], ["granted", "another"]])
def test_a_key_can_only_grant_the_ledgers_that_it_was_granted(keys: Keys, ledgers: list[str]) -> None:
    operator = keys.client("operator", ledgers=["granted"])
    body = {"name": uuid4().hex, "roles": ["client"]}
    answer = operator.post("/v1/keys", json={**body, "ledgers": ledgers})
    assert (answer.status_code, code_of(answer)) == (403, "forbidden")
    made = operator.post("/v1/keys", json={**body, "ledgers_to_come": ["granted"]})
    assert made.status_code == 201


def test_a_revoked_key_is_none(keys: Keys, client: httpx2.Client) -> None:
    made = keys.make("operator", ledgers=[])
    with_key = keys.client_with(made["key"])
    assert with_key.get("/v1/keys").status_code == 200
    for _ in range(2):
        assert client.delete(f"/v1/keys/{made['id']}").status_code == 204
    answer = with_key.get("/v1/keys")
    assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
    listed = client.get("/v1/keys?order=desc").json()["data"]
    (shown,) = [key for key in listed if key["id"] == made["id"]]
    assert (shown["state"], shown["revoked_by"]) == ("revoked", "bootstrap")


def test_a_key_revoked_elsewhere_is_believed_no_longer_than_it_says(
    served: Any, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "KNOWN_FOR_SECONDS", 0.0)
    made = keys.make("operator", ledgers=[])
    with_key = keys.client_with(made["key"])
    assert with_key.get("/v1/keys").status_code == 200
    with served.database.connect("test") as connection:
        connection.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", (made["id"],))
    assert with_key.get("/v1/keys").status_code == 401


@pytest.mark.parametrize("id", ["3b4ff25d-7aa8-48d9-9596-9676cc9b35fa", "nonsense", "%00"])
def test_a_key_that_is_not_there(client: httpx2.Client, id: str) -> None:
    answer = client.delete(f"/v1/keys/{id}")
    assert (answer.status_code, code_of(answer)) == (404, "not_found")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": None}, "/name"),
        ({"roles": []}, "/roles"),
        ({"roles": ["king"]}, "/roles/0"),
        ({"ledgers": ["A"]}, "/ledgers/0"),
        ({"ledgers": "*"}, "/ledgers"),
        ({"key": "tk_mine"}, "/key"),
    ],
)
def test_a_key_of_the_wrong_shape(client: httpx2.Client, wrong: dict[str, Any], pointer: str) -> None:
    body = {"name": "shop", "roles": ["client"], "ledgers": ["main"], **wrong}
    assert pointers_of(client.post("/v1/keys", json=body)) == [pointer]


def test_ledgers_are_listed_as_granted(book: Book, keys: Keys) -> None:
    client = keys.client("client", ledgers=[book.name, "nowhere"])
    answer = client.get(f"/v1/ledgers?min_position={book.client.get(book.path).headers['ledger-position']}")
    assert [ledger["name"] for ledger in answer.json()["data"]] == [book.name]


class TestBootstrap:
    """The first key of an installation."""

    def test_one_is_made_when_there_is_none(self, database: Database) -> None:
        made = ensure_bootstrap_key(database, None)
        assert made is not None and made.startswith("tk_") and len(made) == 46
        assert ensure_bootstrap_key(database, None) is None

    def test_a_configured_one_takes_the_place_of_the_one_before(self, database: Database) -> None:
        ensure_bootstrap_key(database, None)
        for key in ("x" * 24, "y" * 24, "y" * 24):
            assert ensure_bootstrap_key(database, SecretStr(key)) is None
        with database.connect("test") as connection:
            rows = connection.execute("SELECT name, roles, ledgers, key_sha256 FROM api_keys").fetchall()
        digest = sha256(b"y" * 24).digest()
        assert rows == [("bootstrap", ["client", "poster", "auditor", "operator"], ["*"], digest)]

    def test_the_key_of_another_name_is_refused(self, database: Database) -> None:
        with database.connect("test") as connection:
            row = {
                "id": uuid4(),
                "name": "shop",
                "roles": ["client"],
                "ledgers": [],
                "key_sha256": sha256(b"x" * 24).digest(),
            }
            connection.execute(
                "INSERT INTO api_keys (id, name, roles, ledgers, key_sha256)"
                " VALUES (%(id)s, %(name)s, %(roles)s, %(ledgers)s, %(key_sha256)s)",
                row,
            )
        with pytest.raises(ValueError, match="another name"):
            ensure_bootstrap_key(database, SecretStr("x" * 24))

    def test_of_many_that_start_at_once_one_makes_it(self, database: Database) -> None:
        with ThreadPoolExecutor(6) as starting:
            made = list(starting.map(lambda _: ensure_bootstrap_key(database, None), range(6)))
        assert sum(key is not None for key in made) == 1
