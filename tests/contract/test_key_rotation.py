"""Rotation of keys: a new key replaces an old one, which stays valid for an overlap."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from api.service import key_cache
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.serving import KEY, Served


def rotate(client: httpx2.Client, id: str, **body: Any) -> httpx2.Response:
    return client.post(f"/v1/keys/{id}/rotate", json=body)


def rotated(client: httpx2.Client, id: str, **body: Any) -> dict[str, Any]:
    answer = rotate(client, id, **body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def listed(client: httpx2.Client) -> dict[str, dict[str, Any]]:
    return {key["id"]: key for key in client.get("/v1/keys?order=desc&page_size=1000").json()["data"]}


def works(keys: Keys, key: str) -> bool:
    answer = keys.client_with(key).get("/v1/ledgers")
    assert answer.status_code == 200 or code_of(answer) == "unauthenticated"
    return answer.status_code == 200


def test_a_rotated_key_is_a_new_one_like_the_old_one(keys: Keys, client: httpx2.Client) -> None:
    old = keys.make("client", "auditor", ledgers=["main", "other"])
    answer = rotate(client, old["id"], overlap_seconds=3600)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    new = answer.json()
    assert {name for name in old if old[name] != new[name]} == {"id", "key"}
    assert new.keys() == old.keys()
    assert new["key"].startswith("tk_") and len(new["key"]) == 46
    assert new["key"] not in client.get("/v1/keys?order=desc").text


def test_both_work_while_they_overlap(keys: Keys, client: httpx2.Client) -> None:
    old = keys.make("client", ledgers=["main"])
    assert listed(client)[old["id"]]["valid_until"] is None
    new = rotated(client, old["id"], overlap_seconds=2_592_000)
    assert works(keys, old["key"]) and works(keys, new["key"])
    shown = listed(client)
    assert shown[new["id"]]["valid_until"] is None
    assert shown[old["id"]]["valid_until"] > shown[new["id"]]["created_at"]


@pytest.mark.parametrize("body", [{}, {"overlap_seconds": 0}])
def test_without_an_overlap_the_old_one_is_none_at_once(
    keys: Keys, client: httpx2.Client, body: dict[str, int]
) -> None:
    old = keys.make("client", ledgers=["main"])
    assert works(keys, old["key"])
    new = rotated(client, old["id"], **body)
    assert not works(keys, old["key"])
    assert works(keys, new["key"])
    assert listed(client)[old["id"]]["state"] == "expired"


def test_an_overlap_can_be_cut_short(keys: Keys, client: httpx2.Client) -> None:
    old = keys.make("client", ledgers=["main"])
    rotated(client, old["id"], overlap_seconds=3600)
    assert works(keys, old["key"])
    rotated(client, old["id"], overlap_seconds=0)
    assert not works(keys, old["key"])


def test_past_its_end_it_is_none(
    served: Served, keys: Keys, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "KNOWN_FOR_SECONDS", 0.0)
    old = keys.make("client", ledgers=["main"])
    new = rotated(client, old["id"], overlap_seconds=3600)
    assert works(keys, old["key"])
    with served.database.connect("test") as connection:
        connection.execute(
            "UPDATE api_keys SET valid_until = valid_until - interval '1 hour' WHERE id = %s", (old["id"],)
        )
    assert not works(keys, old["key"])
    assert works(keys, new["key"])
    assert listed(client)[old["id"]]["state"] == "expired"


def test_the_actor_stays_the_same(book: Book, keys: Keys, client: httpx2.Client) -> None:
    old = keys.make("client", ledgers=[book.name])
    new = rotated(client, old["id"])
    shop = Book(keys.client_with(new["key"]), book.name)
    assert shop.transfer("a", "b", 1).json()["actor"] == old["name"]


def test_a_key_can_rotate_itself(keys: Keys) -> None:
    old = keys.make("operator", ledgers=["main"])
    new = rotated(keys.client_with(old["key"]), old["id"])
    assert listed(keys.client_with(new["key"]))[new["id"]]["roles"] == ["operator"]


def test_what_is_no_valid_key_is_not_found(keys: Keys, client: httpx2.Client) -> None:
    revoked, ended = keys.make("operator", ledgers=[]), keys.make("operator", ledgers=[])
    client.delete(f"/v1/keys/{revoked['id']}")
    rotated(client, ended["id"])
    absent = "3b4ff25d-7aa8-48d9-9596-9676cc9b35fa"
    for id in (revoked["id"], ended["id"], absent, "nonsense", "%00"):
        answer = rotate(client, id)
        assert (answer.status_code, code_of(answer)) == (404, "not_found")


@pytest.mark.parametrize("ledgers", [["*"], ["granted", "another"]])
def test_only_with_all_of_its_ledgers(keys: Keys, ledgers: list[str]) -> None:
    operator = keys.client("operator", ledgers=["granted"])
    other = keys.make("client", ledgers=ledgers)
    answer = rotate(operator, other["id"])
    assert (answer.status_code, code_of(answer)) == (403, "forbidden")
    assert works(keys, other["key"])
    assert rotate(operator, keys.make("client", ledgers=["granted"])["id"]).status_code == 201


def test_the_bootstrap_key_is_refused_and_says_why(keys: Keys, client: httpx2.Client) -> None:
    bootstrap = next(id for id, key in listed(client).items() if key["name"] == "bootstrap")
    answer = rotate(client, bootstrap)
    assert (answer.status_code, code_of(answer)) == (409, "bootstrap_key_fixed")
    assert "TALLYSTICK_BOOTSTRAP_KEY" in answer.json()["detail"]
    assert works(keys, KEY)


@pytest.mark.parametrize("overlap_seconds", [-1, 2_592_001, 1.0, 0.5, "1", True, None, [], 10**30])
def test_an_overlap_of_the_wrong_shape(keys: Keys, client: httpx2.Client, overlap_seconds: object) -> None:
    old = keys.make("operator", ledgers=[])
    answer = rotate(client, old["id"], overlap_seconds=overlap_seconds)
    assert pointers_of(answer) == ["/overlap_seconds"]
    assert listed(client)[old["id"]]["valid_until"] is None


def test_an_unknown_member_is_refused(keys: Keys, client: httpx2.Client) -> None:
    assert pointers_of(rotate(client, keys.make("operator", ledgers=[])["id"], overlap=1)) == ["/overlap"]


def test_what_is_said_of_a_key_that_cannot_be_rotated_is_true(keys: Keys, client: httpx2.Client) -> None:
    revoked, unknown = keys.make("auditor", ledgers=[])["id"], str(uuid4())
    assert client.delete(f"/v1/keys/{revoked}").status_code == 204
    for id in (revoked, unknown):
        answer = rotate(client, id)
        assert answer.status_code == 404
        words = f"There is no valid key {id}: it was never made, is revoked, or has ended."
        assert answer.json()["detail"] == words
    assert client.delete(f"/v1/keys/{unknown}").json()["detail"] == f"There is no key {unknown}."


def test_a_role_that_is_named_twice_is_granted_once(keys: Keys) -> None:
    assert keys.make("auditor", "client", "auditor", ledgers=["*"])["roles"] == ["auditor", "client"]
