"""The trail of keys: who made, rotated and revoked which key, as auditors read it over HTTP."""

import json
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from domain.transparency.merkle_tree import verify_inclusion
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.journals import Journal
from tests.contract.serving import Served
from tests.projecting import eventually

TRAIL = "/v1/audit/events"


def trail(client: httpx2.Client, **filters: Any) -> list[dict[str, Any]]:
    answer = client.get(TRAIL, params={"page_size": 1000, **filters})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_making_rotating_and_revoking_is_recorded(client: httpx2.Client, keys: Keys) -> None:
    mine = keys.make("operator", ledgers=["*"])
    operator = keys.client_with(mine["key"])
    operator.headers["Correlation-Id"] = conversation = f"keys-{uuid4().hex}"
    body = {"name": f"shop {uuid4().hex}", "roles": ["poster"], "ledgers_to_come": ["next"]}
    old = operator.post("/v1/keys", json=body).json()
    new = operator.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_seconds": 60}).json()
    for _ in range(2):
        assert operator.delete(f"/v1/keys/{old['id']}").status_code == 204
    events = trail(client, key_id=old["id"])
    assert [(event["type"], event["stream"]) for event in events] == [
        ("key.made", f"-/keys/{old['id']}"),
        ("key.made", f"-/keys/{new['id']}"),
        ("key.rotated", f"-/keys/{old['id']}"),
        ("key.revoked", f"-/keys/{old['id']}"),
    ]
    assert [event["version"] for event in events] == [1, 1, 2, 3]
    what = {"name": body["name"], "roles": ["poster"], "ledgers": ["next"]}
    for event in events:
        assert (event["actor"], event["correlation_id"]) == (mine["name"], conversation)
        assert (event["ledger"], event["idempotency_key"]) == (None, None)
        assert event["payload"].items() >= what.items()
    made, replacing, rotated, revoked = (event["payload"] for event in events)
    assert (made["replaces"], made["valid_until"]) == (None, None)
    assert replacing["replaces"] == old["id"] and rotated["replaced_by"] == new["id"]
    assert rotated["valid_until"] == revoked["valid_until"] > events[2]["recorded_at"]
    assert not any(key["key"] in json.dumps(events) for key in (old, new))
    assert trail(client, correlation_id=conversation) == events
    assert trail(client, actor=mine["name"], order="desc") == events[::-1]
    listed = {key["id"]: key for key in client.get("/v1/keys?order=desc&page_size=1000").json()["data"]}
    assert listed[old["id"]]["created_at"] == events[0]["recorded_at"]
    assert listed[old["id"]]["revoked_at"] == events[3]["recorded_at"]
    assert listed[old["id"]]["revoked_by"] == listed[new["id"]]["created_by"] == mine["name"]
    assert (listed[old["id"]]["state"], listed[new["id"]]["state"]) == ("revoked", "active")


def test_the_bootstrap_key_is_recorded_as_well(client: httpx2.Client) -> None:
    first = trail(client)[0]
    assert (first["position"], first["type"], first["actor"]) == (1, "key.made", "tallystick")
    assert first["payload"]["name"] == "bootstrap" and first["payload"]["ledgers"] == ["*"]


@pytest.mark.parametrize("type", ["key.made", "key.rotated", "key.revoked"])
def test_the_trail_is_filtered_by_type(client: httpx2.Client, keys: Keys, type: str) -> None:
    made = keys.make("auditor", ledgers=[])
    client.post(f"/v1/keys/{made['id']}/rotate", json={})
    client.delete(f"/v1/keys/{made['id']}")
    found = trail(client, type=type, key_id=made["id"])
    assert found and {event["type"] for event in found} == {type}
    assert pointers_of(client.get(TRAIL, params={"type": "transaction.posted"})) == ["?type"]


def test_pages_and_streams_say_the_same(client: httpx2.Client, keys: Keys) -> None:
    after = trail(client)[-1]["position"]
    made = [keys.make("auditor", ledgers=[])["id"] for _ in range(5)]
    paged, query = [], f"?after={after}&page_size=2"
    while True:
        page = client.get(TRAIL + query).json()
        paged += page["data"]
        if page["next_cursor"] is None:
            break
        query = f"?after={after}&page_size=2&cursor={page['next_cursor']}"
    assert [event["stream"] for event in paged] == [f"-/keys/{id}" for id in made]
    lines = client.get(f"{TRAIL}?after={after}", headers={"Accept": "application/x-ndjson"}).text.splitlines()
    assert [json.loads(line) for line in lines] == paged


def test_the_trail_is_part_of_what_is_sealed(client: httpx2.Client, keys: Keys) -> None:
    event = trail(client, key_id=keys.make("auditor", ledgers=[])["id"])[-1]
    position = event["position"]
    answers = []

    def proved() -> bool:
        answers.append(client.get(f"/v1/audit/proofs/inclusion?position={position}"))
        return answers[-1].status_code == 200

    eventually(proved)
    proof = answers[-1].json()
    assert proof["leaf_hash"] == event["leaf_hash"]
    path = [bytes.fromhex(node) for node in proof["path"]]
    root, leaf = bytes.fromhex(proof["root_hash"]), bytes.fromhex(proof["leaf_hash"])
    assert verify_inclusion(leaf, proof["leaf_index"], proof["size"], root, path)


def test_a_ledgers_history_has_nothing_of_keys(book: Book, keys: Keys) -> None:
    keys.make("client", ledgers=[book.name])
    events = book.client.get(f"{book.path}/events?page_size=1000").json()["data"]
    assert events and not [event for event in events if event["type"].startswith("key.")]
    assert book.client.get("/v1/ledgers/-/events").status_code == 404


def test_who_audits_one_ledger_sees_the_keys_of_it_alone(book: Book, keys: Keys) -> None:
    auditor = keys.client("auditor", ledgers=[book.name])
    mine = keys.make("client", ledgers=[book.name])
    theirs = [keys.make("client", ledgers=ledgers) for ledgers in (["*"], [book.name, "other"], ["other"])]
    streams = [event["stream"] for event in trail(auditor)]
    assert f"-/keys/{mine['id']}" in streams
    assert not {f"-/keys/{key['id']}" for key in theirs} & set(streams)
    shown = [key["id"] for key in auditor.get("/v1/keys?page_size=1000").json()["data"]]
    assert mine["id"] in shown and not {key["id"] for key in theirs} & set(shown)


def test_a_webhook_of_everything_is_told_nothing_of_keys(
    client: httpx2.Client, book: Book, keys: Keys, journal: Journal
) -> None:
    body = {"url": "https://93.184.216.34/ledger", "ledgers": ["*"], "types": ["*"]}
    hook = client.post("/v1/webhooks", json=body).json()["id"]
    before = journal.head()
    keys.make("auditor", ledgers=[])
    moved = int(book.transfer("a", "b", 1).headers["ledger-position"])
    path = f"/v1/webhooks/{hook}/deliveries?order=desc&page_size=1000"

    def told() -> set[int]:
        return {int(delivery["id"]) for delivery in client.get(path).json()["data"]}

    eventually(lambda: moved in told())
    types = {event["position"]: event["type"] for event in journal.after(before)}
    assert "key.made" in types.values()
    assert not [position for position in told() if types[position].startswith("key.")]
    client.delete(f"/v1/webhooks/{hook}")


class TestWhatIsRefused:
    """New keys that would be useless or could be mistaken for something else."""

    @pytest.mark.parametrize(
        "name",
        [
            "tallystick",
            "bootstrap",
            "service",
            "provider:simulator",
            "Bootstrap",
            "ｂｏｏｔｓｔｒａｐ",
            "bôotstrap",
            "bооtstrap",  # two letters are Cyrillic
            "provider : x",
            "root at a terminal",
            "terminal:root",
            "\x1b[2Jshop",
            "shop\n",
            " shop",
            "shop ",
            "sh\u200bop",
            "\u202epohs",
            "\u3164",
            "\u0301shop",
            "x" * 256,
        ],
    )
    def test_a_name(self, client: httpx2.Client, name: str) -> None:
        answer = client.post("/v1/keys", json={"name": name, "roles": ["auditor"], "ledgers": []})
        assert pointers_of(answer) == ["/name"]

    @pytest.mark.parametrize(
        "name", ["Zoë's shop", "東京", "магазин", "K8s prod (eu-1)/β", "10 µs", "a@b.example"]
    )
    def test_a_name_of_any_language_is_none_of_these(self, client: httpx2.Client, name: str) -> None:
        answer = client.post("/v1/keys", json={"name": name, "roles": ["auditor"], "ledgers": []})
        assert (answer.status_code, answer.json()["name"]) == (201, name)
        assert client.delete(f"/v1/keys/{answer.json()['id']}").status_code == 204

    def test_the_name_of_a_living_key(self, client: httpx2.Client, keys: Keys) -> None:
        name = f"shop {uuid4().hex}"
        body: dict[str, Any] = {"roles": ["auditor"], "ledgers": []}
        made = client.post("/v1/keys", json={"name": name, **body}).json()
        for like in (name, name.upper(), name.replace(" ", "  "), "ｓhop" + name[4:]):
            answer = client.post("/v1/keys", json={"name": like, **body})
            assert (answer.status_code, code_of(answer)) == (409, "key_exists")
        rotated = client.post(f"/v1/keys/{made['id']}/rotate", json={"overlap_seconds": 60}).json()
        assert rotated["name"] == name
        for id in (rotated["id"], made["id"]):
            assert code_of(client.post("/v1/keys", json={"name": name, **body})) == "key_exists"
            client.delete(f"/v1/keys/{id}")
        assert client.post("/v1/keys", json={"name": name, **body}).status_code == 201

    @pytest.mark.parametrize("roles", [["client"], ["poster"], ["auditor", "client"], ["poster", "operator"]])
    def test_who_acts_in_ledgers_without_one(self, client: httpx2.Client, roles: list[str]) -> None:
        answer = client.post("/v1/keys", json={"name": uuid4().hex, "roles": roles, "ledgers": []})
        assert pointers_of(answer) == ["/ledgers"]

    def test_a_ledger_that_is_not_there(self, client: httpx2.Client, book: Book, keys: Keys) -> None:
        body = {"name": uuid4().hex, "roles": ["client"], "ledgers": [book.name, "no-such"]}
        assert pointers_of(client.post("/v1/keys", json=body)) == ["/ledgers/1"]
        assert pointers_of(client.post("/v1/keys", json={**body, "ledgers_to_come": ["*"]})) == [
            "/ledgers_to_come/0"
        ]
        told = {**body, "ledgers": [book.name], "ledgers_to_come": ["no-such"]}
        assert client.post("/v1/keys", json=told).json()["ledgers"] == [book.name, "no-such"]
        # A caller without a ledger does not learn whether the ledger exists.
        operator = keys.client("operator", ledgers=["mine"])
        for ledgers in ([book.name], ["no-such"]):
            assert code_of(operator.post("/v1/keys", json={**body, "ledgers": ledgers})) == "forbidden"
        assert code_of(operator.post("/v1/keys", json={**told, "ledgers": []})) == "forbidden"

    def test_a_ledger_is_there_at_once(self, client: httpx2.Client) -> None:
        name = f"l{uuid4().hex[:12]}"
        client.post("/v1/ledgers", json={"name": name})
        body = {"name": uuid4().hex, "roles": ["poster"], "ledgers": [name]}
        assert client.post("/v1/keys", json=body).status_code == 201

    def test_nothing_of_what_is_refused_is_recorded(self, client: httpx2.Client, journal: Journal) -> None:
        before = journal.head()
        for body in ({"name": "bootstrap"}, {"name": uuid4().hex, "ledgers": ["no-such"]}):
            client.post("/v1/keys", json={"roles": ["auditor"], **body})
        assert not [event for event in journal.after(before) if event["type"].startswith("key.")]


def test_keys_are_listed_by_state(client: httpx2.Client, keys: Keys, served: Served) -> None:
    active, expired, revoked = (keys.make("auditor", ledgers=[])["id"] for _ in range(3))
    client.post(f"/v1/keys/{expired}/rotate", json={})
    client.delete(f"/v1/keys/{revoked}")
    for state, id in (("active", active), ("expired", expired), ("revoked", revoked)):
        listed = client.get(f"/v1/keys?state={state}&order=desc&page_size=1000").json()["data"]
        assert {key["state"] for key in listed} == {state}
        assert id in [key["id"] for key in listed]
    assert pointers_of(client.get("/v1/keys?state=dead")) == ["?state"]
    cursor = client.get("/v1/keys?state=active&page_size=1").json()["next_cursor"]
    assert code_of(client.get(f"/v1/keys?state=revoked&cursor={cursor}")) == "cursor_mismatch"


def test_a_poster_moves_money_and_changes_no_account(book: Book, keys: Keys) -> None:
    poster = Book(keys.client("poster", ledgers=[book.name]), book.name)
    posted = poster.transfer("a", "b", 5)
    assert (posted.status_code, posted.json()["actor"]) == (201, keys.last_name)
    assert poster.reverse(posted.json()["id"]).status_code == 201
    hold, other = (poster.hold("a", "b", 5).json()["id"] for _ in range(2))
    assert poster.settle(hold).status_code == 201
    assert poster.void(other).status_code == 201
    assert poster.batch({"idempotency_key": uuid4().hex, "reverse": hold}).status_code == 200
    assert poster.pay_out(1, account="a").status_code == 202
    for path in (
        "",
        "/accounts",
        "/accounts/a",
        "/accounts/a/entries",
        "/transactions",
        "/events",
        "/trial-balance",
    ):
        assert poster.client.get(poster.path + path).status_code == 200
    opening = {"address": "c", "asset": "USD/2", "normal_side": "credit"}
    refused = [
        poster.client.post(f"{poster.path}/accounts", json=opening),
        poster.client.patch(f"{poster.path}/accounts/a", json={"min_balance": -10}),
        *(poster.change(verb, "a") for verb in ("freeze", "unfreeze", "close")),
        keys.client("poster", ledgers=["*"]).post("/v1/ledgers", json={"name": "more"}),
    ]
    assert [(answer.status_code, code_of(answer)) for answer in refused] == [(403, "forbidden")] * 6
