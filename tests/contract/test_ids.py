"""Ids are UUIDs in their standard form, accepted in upper or lower case everywhere."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from api.resources import ENDPOINTS
from domain.model.idempotency import fingerprint
from tests.contract.answers import code_of
from tests.contract.books import Book
from tests.contract.serving import Served
from tests.projecting import append, eventually, unreadable_posting

# Python reads these as the same UUID. The API accepts none of them.
OTHER_FORMS: list[Callable[[str], str]] = [
    lambda id: "{" + id + "}",
    lambda id: f"urn:uuid:{id}",
    lambda id: id.replace("-", ""),
    lambda id: id.replace("-", "", 1),
    lambda id: f"%20{id}",
    lambda id: f"{id}%0A",
    lambda id: id[:-1],
    lambda id: id.replace("-", "--", 1),
    lambda id: f"{id[:-1]}%D9%A1",  # a digit, but not an ASCII one
]


def test_every_route_with_an_id_in_its_path_is_tried_here() -> None:
    with_id = {endpoint.declared.operation_id for endpoint in ENDPOINTS if "{id}" in endpoint.path}
    assert with_id == {
        *("get_transaction", "settle_hold", "void_hold", "reverse_transaction"),
        *("get_payout", "reconcile_payout", "complete_payout", "fail_payout"),
        *("rotate_key", "revoke_key"),
        *("get_dead_letter", "retry_dead_letter", "discard_dead_letter"),
        *("get_webhook", "rotate_webhook_secret", "disable_webhook", "enable_webhook", "delete_webhook"),
        *("list_deliveries", "get_delivery", "retry_delivery", "discard_delivery"),
    }


@pytest.fixture
def letter(served: Served, client: httpx2.Client) -> str:
    """The id of a dead letter."""
    path = "/v1/dead-letters?projection=entries&order=desc"
    before = {letter["id"] for letter in client.get(path).json()["data"]}
    with served.database.connect_as_owner("test owner") as owner:
        (recorded_at,) = owner.execute("SELECT recorded_at FROM head").fetchone() or ("",)
        state = unreadable_posting(recorded_at)
        append(owner, f"main/transactions/{uuid4()}", 1, "transaction.posted", state)

    def new() -> list[str]:
        return [letter["id"] for letter in client.get(path).json()["data"] if letter["id"] not in before]

    eventually(lambda: bool(new()))
    return new()[0]


class TestTransactions:
    def test_one_is_found_by_its_id_in_capitals(self, book: Book) -> None:
        made = book.transfer("a", "b", 10).json()
        for id in (made["id"].upper(), made["id"].title()):
            answer = book.transaction(id)
            assert (answer.status_code, answer.json()) == (200, made)

    @pytest.mark.parametrize("verb", ["settle", "void", "reverse"])
    def test_the_same_request_is_a_replay_however_the_id_is_written(self, book: Book, verb: str) -> None:
        made = book.transfer("a", "b", 10) if verb == "reverse" else book.hold("a", "b", 10)
        id = made.json()["id"]
        first = book.act(verb, id.upper(), key="k")
        assert first.status_code == 201, first.text
        assert id in first.json()["related"].values()
        for again in (book.act(verb, id, key="k"), book.act(verb, id.title(), key="k")):
            assert (again.status_code, again.content) == (201, first.content)
            assert again.headers["idempotent-replayed"] == "true"
        batched = book.batch({"idempotency_key": "k", verb: id.upper()})
        assert batched.json()["results"] == [{"status": 201, "replayed": True, "transaction": first.json()}]
        # As stored by releases that accepted only lower case.
        kept = fingerprint("POST", f"{book.path}/transactions/{id}/{verb}", {})
        assert book.operation("k").json()["request_fingerprint"] == kept

    @pytest.mark.parametrize("verb", ["settle", "void", "reverse"])
    def test_a_batch_takes_it_too(self, book: Book, verb: str) -> None:
        made = book.transfer("a", "b", 10) if verb == "reverse" else book.hold("a", "b", 10)
        id = made.json()["id"]
        (first,) = book.batch({"idempotency_key": "k", verb: id.upper()}, mode="atomic").json()["results"]
        assert (first["status"], first["replayed"]) == (201, False)
        again = book.act(verb, id, key="k")
        assert (again.status_code, again.json()) == (201, first["transaction"])
        assert again.headers["idempotent-replayed"] == "true"

    def test_another_id_is_another_request(self, book: Book) -> None:
        ids = [book.hold("a", "b", 10).json()["id"] for _ in range(2)]
        assert book.void(ids[0], key="k").status_code == 201
        assert code_of(book.void(ids[1].upper(), key="k")) == "idempotency_key_reused"

    def test_a_refusal_shows_the_path_as_it_was_sent(self, book: Book) -> None:
        id = str(uuid4()).upper()
        answer = book.transaction(id)
        assert (answer.status_code, code_of(answer)) == (404, "transaction_not_found")
        assert answer.json()["instance"].endswith(id)

    @pytest.mark.parametrize("other", OTHER_FORMS)
    def test_other_forms_name_nothing(self, book: Book, other: Callable[[str], str]) -> None:
        id = book.hold("a", "b", 10).json()["id"]
        for given in (other(id), other(id.upper())):
            answers = [
                book.transaction(given),
                *(book.act(verb, given) for verb in ("settle", "void", "reverse")),
            ]
            assert [(answer.status_code, code_of(answer)) for answer in answers] == [
                (404, "transaction_not_found")
            ] * 4
        assert book.transaction(id).json()["status"] == "pending"

    @pytest.mark.parametrize("other", OTHER_FORMS[:4])
    def test_nor_do_they_in_a_batch(self, book: Book, other: Callable[[str], str]) -> None:
        id = book.hold("a", "b", 10).json()["id"]
        (result,) = book.batch({"idempotency_key": "k", "void": other(id)}).json()["results"]
        assert (result["status"], result["problem"]["code"]) == (404, "transaction_not_found")

    @pytest.mark.parametrize("other", OTHER_FORMS[:4])
    def test_events_are_filtered_by_ids_alone(self, book: Book, other: Callable[[str], str]) -> None:
        id = book.transfer("a", "b", 10).json()["id"]
        path = f"{book.path}/events"
        found = book.client.get(path, params={"transaction_id": id}).json()["data"]
        assert len(found) == 3
        assert book.client.get(path, params={"transaction_id": id.upper()}).json()["data"] == found
        answer = book.client.get(path, params={"transaction_id": other(id)})
        assert answer.json()["errors"] == [
            {
                "pointer": "?transaction_id",
                "detail": "must be an id such as 0b2f7c1e-8d3a-5b6f-9c0d-1e2f3a4b5c6d",
            }
        ]


class TestPayouts:
    def test_one_is_found_and_resolved_by_its_id_in_capitals(self, book: Book) -> None:
        book.open("alice")
        id = book.pay_out(40).json()["id"]
        book.await_payout(id, "completed")
        found = book.client.get(f"{book.path}/payouts/{id.upper()}").json()
        assert (found["id"], found["state"]) == (id, "completed")  # a late report may still join its history
        for verb in ("reconcile", "complete"):
            answer = book.resolve(verb, id.upper())
            assert (answer.status_code, answer.json()["id"]) == (200, id)

    @pytest.mark.parametrize("other", OTHER_FORMS)
    def test_other_forms_name_nothing(self, book: Book, other: Callable[[str], str]) -> None:
        book.open("alice")
        id = other(book.pay_out(40).json()["id"])
        answers = [
            book.client.get(f"{book.path}/payouts/{id}"),
            *(book.resolve(verb, id) for verb in ("reconcile", "complete", "fail")),
        ]
        assert [(answer.status_code, code_of(answer)) for answer in answers] == [
            (404, "payout_not_found")
        ] * 4


def webhook(client: httpx2.Client) -> str:
    body = {"url": "https://93.184.216.34/", "ledgers": ["nobody"], "types": ["*"]}
    id: str = client.post("/v1/webhooks", json=body).json()["id"]
    return id


def of_webhook(id: str) -> list[tuple[str, str, Any]]:
    """Every request about a webhook without deliveries."""
    path, why = f"/v1/webhooks/{id}", {"reason": "because"}
    return [
        ("GET", path, None),
        ("GET", f"{path}/deliveries", None),
        ("POST", f"{path}/rotate", {}),
        ("POST", f"{path}/disable", why),
        ("POST", f"{path}/enable", None),
        ("DELETE", path, None),
    ]


def test_a_webhook_is_found_by_its_id_in_capitals(client: httpx2.Client) -> None:
    id = webhook(client)
    for verb in ("retry", "discard"):
        path = f"/v1/webhooks/{id.upper()}/deliveries/1/{verb}"
        answer = client.post(path, json={"reason": "x"} if verb == "discard" else None)
        assert code_of(answer) == "delivery_not_found"
    for method, path, body in of_webhook(id.upper()):
        assert client.request(method, path, json=body).status_code in (200, 201, 204)
    assert client.get(f"/v1/webhooks/{id}").status_code == 404


def test_pages_of_its_deliveries_are_one_list(book: Book) -> None:
    body = {"url": "https://93.184.216.34/", "ledgers": [book.name], "types": ["*"]}
    id = book.client.post("/v1/webhooks", json=body).json()["id"]
    book.transfer("a", "b", 1)
    path = f"/v1/webhooks/{id}/deliveries"
    eventually(lambda: len(book.client.get(path).json()["data"]) == 3)
    cursor = book.client.get(path, params={"page_size": 1}).json()["next_cursor"]
    rest = book.client.get(path.replace(id, id.upper()), params={"cursor": cursor})
    assert len(rest.json()["data"]) == 2
    book.client.delete(f"/v1/webhooks/{id}")


@pytest.mark.parametrize("other", OTHER_FORMS)
def test_other_forms_name_no_webhook(client: httpx2.Client, other: Callable[[str], str]) -> None:
    id = webhook(client)
    for method, path, body in of_webhook(other(id)):
        answer = client.request(method, path, json=body)
        assert (answer.status_code, code_of(answer)) == (404, "webhook_not_found")
    assert client.delete(f"/v1/webhooks/{id}").status_code == 204


def test_a_key_is_rotated_and_revoked_by_its_id_in_capitals(client: httpx2.Client) -> None:
    body = {"name": f"spare-{uuid4().hex}", "roles": ["client"], "ledgers_to_come": ["main"]}
    id = client.post("/v1/keys", json=body).json()["id"]
    rotated = client.post(f"/v1/keys/{id.upper()}/rotate")
    assert rotated.status_code == 201, rotated.text
    assert client.delete(f"/v1/keys/{rotated.json()['id'].upper()}").status_code == 204
    listed = client.get("/v1/keys?page_size=1000").json()["data"]
    assert rotated.json()["id"] not in [key["id"] for key in listed if not key.get("revoked_at")]


@pytest.mark.parametrize("other", OTHER_FORMS)
def test_other_forms_name_no_key(client: httpx2.Client, other: Callable[[str], str]) -> None:
    body = {"name": f"spare-{uuid4().hex}", "roles": ["client"], "ledgers_to_come": ["main"]}
    id = client.post("/v1/keys", json=body).json()["id"]
    for answer in (client.post(f"/v1/keys/{other(id)}/rotate"), client.delete(f"/v1/keys/{other(id)}")):
        assert (answer.status_code, code_of(answer)) == (404, "not_found")
    assert client.delete(f"/v1/keys/{id}").status_code == 204


def test_a_dead_letter_is_found_by_its_id_in_capitals(client: httpx2.Client, letter: str) -> None:
    path = f"/v1/dead-letters/{letter.upper()}"
    assert client.get(path).json()["id"] == letter
    for other in OTHER_FORMS:
        form = f"/v1/dead-letters/{other(letter)}"
        discard = client.post(f"{form}/discard", json={"reason": "x"})
        for answer in (client.get(form), client.post(f"{form}/retry"), discard):
            assert (answer.status_code, code_of(answer)) == (404, "dead_letter_not_found")
    assert client.post(f"{path}/retry").json()["id"] == letter
    assert client.post(f"{path}/discard", json={"reason": "a test"}).json()["state"] == "discarded"


def test_what_is_no_id_names_nothing_and_is_no_fault(book: Book) -> None:
    for id in ("x", "0" * 36, "g" * 8 + str(UUID(int=0))[8:], "%00", "a%2Fb", "..x", "é"):
        answer = book.transaction(id)
        assert (answer.status_code, code_of(answer)) == (404, "transaction_not_found"), id
