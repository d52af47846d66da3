"""What spans ledgers asks every installation of a placement, merges what they say, and says which could not answer."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from pydantic_core import from_json
from standardwebhooks import Webhook

from api.http.cursors import encode_cursor
from domain.model.streams import account_stream
from domain.placement.ledger_map import take
from projections.engine.dead_letters import add_letter
from projections.engine.poison import Poison
from projections.registry import PROJECTIONS
from projections.running.positions import progress
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.placed import AWAY, HOME, Placed, placed
from tests.contract.serving import SECRET
from tests.databases import Databases
from tests.projecting import eventually


@pytest.fixture(scope="module")
def service(databases: Databases) -> Iterator[Placed]:
    with placed(databases) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Placed) -> Iterator[httpx2.Client]:
    with service.client() as client:
        yield client


@pytest.fixture(scope="module")
def ledgers(client: httpx2.Client) -> dict[str, str]:
    """Ledgers in the order in which they were opened, with the installation of each."""
    made = {f"ledger-{number}": (HOME, AWAY)[number % 2] for number in range(7)}
    position = 0
    for name, installation in made.items():
        opened = client.post("/v1/ledgers", json={"name": name, "installation": installation})
        assert opened.status_code == 201
        position = int(opened.headers["ledger-position"])
    listed = client.get("/v1/ledgers", params={"min_position": position}).json()
    eventually(lambda: len(client.get("/v1/ledgers").json()["data"]) >= len(made))
    assert listed["unanswered"] == []
    return made


def pages(client: httpx2.Client, path: str, **query: Any) -> Iterator[dict[str, Any]]:
    """Yield the pages of a list."""
    while True:
        page = client.get(path, params=query).json()
        yield page
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


def items(client: httpx2.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    return [item for page in pages(client, path, **query) for item in page["data"]]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_ledgers_of_all_installations_are_one_list(
    client: httpx2.Client, ledgers: dict[str, str], size: int, order: str
) -> None:
    found = items(client, "/v1/ledgers", page_size=size, order=order)
    expected = list(ledgers.items())
    assert [(item["name"], item["installation"]) for item in found] == (
        expected if order == "asc" else expected[::-1]
    )


def test_one_installation_can_be_asked_alone(client: httpx2.Client, ledgers: dict[str, str]) -> None:
    for name in (HOME, AWAY):
        found = items(client, "/v1/ledgers", installation=name, page_size=1)
        assert [item["name"] for item in found] == [
            ledger for ledger, installation in ledgers.items() if installation == name
        ]


def test_an_unknown_installation_is_refused_by_the_names_there_are(client: httpx2.Client) -> None:
    for path in ("/v1/ledgers", "/v1/stuck", "/v1/projections/balances", "/v1/audit/checkpoint"):
        refused = client.get(path, params={"installation": "north"})
        assert pointers_of(refused) == ["?installation"]
        assert refused.json()["errors"][0]["detail"] == "must be one of east, west"


def test_a_list_goes_on_with_whoever_answers_and_is_whole_in_the_end(
    client: httpx2.Client, service: Placed, ledgers: dict[str, str]
) -> None:
    first = client.get("/v1/ledgers", params={"page_size": 2}).json()
    shown = [item["name"] for item in first["data"]]
    with service.without(AWAY):
        cursor = first["next_cursor"]
        while True:
            answer = client.get("/v1/ledgers", params={"cursor": cursor, "page_size": 2})
            if not answer.is_success:
                break
            page = answer.json()
            assert page["unanswered"] == [AWAY]
            assert {item["installation"] for item in page["data"]} == {HOME}
            assert list(page["reflected"]) == [HOME]
            shown += [item["name"] for item in page["data"]]
            cursor = page["next_cursor"]
        assert code_of(answer) == "journal_unavailable" and answer.json()["reason"] == "unreachable"
    shown += items_after(client, "/v1/ledgers", cursor)
    assert sorted(name for name in shown if name in ledgers) == sorted(ledgers)


def items_after(client: httpx2.Client, path: str, cursor: str) -> list[str]:
    return [item["name"] for item in items(client, path, cursor=cursor, page_size=2)]


def test_projections_are_listed_once_for_each_installation(client: httpx2.Client) -> None:
    found = items(client, "/v1/projections", page_size=3)
    names = [(item["name"], item["installation"]) for item in found]
    assert names == sorted(names) and len(set(names)) == len(names)
    assert {installation for _, installation in names} == {HOME, AWAY}
    assert len(names) == 2 * len({name for name, _ in names})


def test_a_projection_is_that_of_the_installation_named(client: httpx2.Client) -> None:
    path = "/v1/projections/entries"
    refused = client.get(path)
    assert refused.json()["errors"][0]["detail"] == "is missing; it is one of east, west"
    assert client.post(f"{path}/pause").status_code == 422
    paused = client.post(f"{path}/pause", params={"installation": AWAY}, json={"reason": "a test"})
    assert (paused.json()["state"], paused.json()["installation"]) == ("paused", AWAY)
    assert paused.headers["ledger-installation"] == AWAY
    states = {name: client.get(path, params={"installation": name}).json()["state"] for name in (HOME, AWAY)}
    assert states == {HOME: "running", AWAY: "paused"}
    resumed = client.post(f"{path}/resume", params={"installation": AWAY})
    assert resumed.json()["state"] == "running"


def test_a_dead_letter_is_found_wherever_it_is(
    client: httpx2.Client, service: Placed, ledgers: dict[str, str]
) -> None:
    of_each = {HOME: "ledger-0", AWAY: "ledger-1"}
    made = {name: _letter(client, service, ledger, name) for name, ledger in of_each.items()}
    found = items(client, "/v1/dead-letters", page_size=1, state="open")
    assert {item["id"]: item["installation"] for item in found} == {id: name for name, id in made.items()}
    for name, id in made.items():
        shown = client.get(f"/v1/dead-letters/{id}")
        assert (shown.json()["installation"], shown.headers["ledger-installation"]) == (name, name)
    with service.without(AWAY):
        assert client.get(f"/v1/dead-letters/{made[HOME]}").is_success
        # It may be in the installation that does not answer, so nobody can say that there is none.
        assert client.get(f"/v1/dead-letters/{uuid4()}").status_code == 503
    assert client.get(f"/v1/dead-letters/{uuid4()}").status_code == 404
    stuck = items(client, "/v1/stuck", kind="stream_held")
    assert {each["resource"]: each["installation"] for each in stuck} == {
        f"/v1/dead-letters/{id}": name for name, id in made.items()
    }
    assert all(
        f"retry {each['resource'][-36:]} --installation {each['installation']}`" in each["safe_to_do"]
        for each in stuck
    )
    for id in made.values():
        discarded = client.post(f"/v1/dead-letters/{id}/discard", json={"reason": "a test"})
        assert discarded.json()["state"] == "discarded"


def _letter(client: httpx2.Client, service: Placed, ledger: str, installation: str) -> str:
    """Make a dead letter of the opening of an account, as if `balances` had not understood it."""
    account = {"address": f"a{uuid4().hex[:8]}", "asset": "USD/2", "normal_side": "credit"}
    opened = client.post(f"/v1/ledgers/{ledger}/accounts", json=account).json()
    poison = Poison(account_stream(ledger, account["address"]), opened["position"], ValueError("a test"))
    id = uuid4()
    with service.placement.database(installation).connect("test") as connection:
        eventually(lambda: progress(connection, "balances").position >= opened["position"])
        version = progress(connection, "balances").version
        add_letter(connection, PROJECTIONS["balances"], version, poison, 1, id)
    return str(id)


def test_what_is_stuck_is_told_of_those_that_answer(client: httpx2.Client, service: Placed) -> None:
    pause = {"installation": AWAY}
    client.post("/v1/projections/entries/pause", params=pause)
    opened = client.post("/v1/ledgers", json={"name": "stuck-test", "installation": AWAY})
    assert opened.is_success
    query: dict[str, Any] = {"projection_seconds": 0, "kind": "projection_paused"}
    (found,) = client.get("/v1/stuck", params=query).json()["data"]
    assert found["resource"] == "/v1/projections/entries?installation=west"
    assert "POST /v1/projections/entries/resume?installation=west" in found["safe_to_do"]
    assert client.get(found["resource"]).json()["state"] == "paused"
    with service.without(AWAY):
        page = client.get("/v1/stuck", params=query).json()
        assert (page["data"], page["unanswered"]) == ([], [AWAY])
        assert page["next_cursor"] is not None
    client.post("/v1/projections/entries/resume", params=pause)


def test_metrics_have_the_installation(client: httpx2.Client, service: Placed) -> None:
    page = client.get("/metrics").text
    for name in (HOME, AWAY):
        assert f'tallystick_ready{{installation="{name}"}} 1.0' in page
        assert f'tallystick_projection_lag_events{{installation="{name}",projection="balances"}}' in page
        assert f'tallystick_events_recorded_total{{installation="{name}"}}' in page
        assert f'tallystick_waiting_commands{{installation="{name}"}} 0.0' in page
    assert page.count("# TYPE tallystick_ready gauge") == 1
    with service.without(AWAY):
        page = client.get("/metrics").text
        assert 'tallystick_ready{installation="east"} 1.0' in page
        assert 'tallystick_ready{installation="west"} 0.0' in page
        assert 'tallystick_journal_head{installation="east"}' in page
        assert 'tallystick_journal_head{installation="west"}' not in page


def test_it_is_ready_if_home_is(client: httpx2.Client, service: Placed) -> None:
    ready = client.get("/readyz", params={"verbose": ""}).json()
    assert [(each["installation"], each["status"]) for each in ready["installations"]] == [
        (HOME, "ready"),
        (AWAY, "ready"),
    ]
    with service.without(AWAY):
        ready = client.get("/readyz", params={"verbose": ""}).json()
        away = ready["installations"][1]
        assert (ready["status"], away["status"], away["checks"]["database"]) == (
            "ready",
            "unready",
            "unreachable",
        )
    with service.without(HOME):
        ready = client.get("/readyz", params={"verbose": ""}).json()
        assert [each["status"] for each in ready["installations"]] == ["unready", "ready"]


def test_each_installation_has_a_log_of_its_own(client: httpx2.Client) -> None:
    for path in ("/v1/audit/verifier-key", "/v1/audit/checkpoints"):
        home, named = client.get(path), client.get(path, params={"installation": HOME})
        away = client.get(path, params={"installation": AWAY})
        assert home.headers["ledger-installation"] == HOME
        assert away.headers["ledger-installation"] == AWAY
        assert home.text == named.text


def test_a_callback_reaches_the_payout_wherever_its_ledger_is(
    client: httpx2.Client, ledgers: dict[str, str]
) -> None:
    for ledger, installation in (("ledger-0", HOME), ("ledger-1", AWAY)):
        assert ledgers[ledger] == installation
        book = Book(client, ledger)
        book.open(account := f"payee{uuid4().hex[:8]}")
        made = book.pay_out(account=account).json()
        book.await_payout(made["id"], "submitted", "in_doubt")
        data = {"key": made["provider_key"], "state": "completed", "amount": 40, "asset": "USD/2"}
        report = {"type": "payout.completed", "timestamp": "2026-11-23T20:00:00Z", "data": data}
        assert _report(client, report).status_code == 204
        assert book.payout(made["id"])["state"] == "completed"
        data["key"] = made["provider_key"].replace(ledger, "no-such-ledger")
        assert _report(client, report).status_code == 404


def _report(client: httpx2.Client, report: dict[str, Any]) -> httpx2.Response:
    id, at, text = f"msg_{uuid4().hex}", datetime.now(UTC), json.dumps(report)
    headers = {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(id, at, text),
    }
    return client.post("/v1/providers/simulator/callbacks", content=text, headers=headers)


def test_a_conversation_in_two_installations_is_one_story(
    client: httpx2.Client, service: Placed, ledgers: dict[str, str]
) -> None:
    talk = f"conversation-{uuid4().hex}"
    for ledger in ("ledger-0", "ledger-1"):
        account = {"address": f"a{uuid4().hex[:8]}", "asset": "USD/2", "normal_side": "credit"}
        path = f"/v1/ledgers/{ledger}/accounts"
        assert client.post(path, json=account, headers={"Correlation-Id": talk}).is_success
    told = client.get("/v1/trace", params={"correlation_id": talk}).json()
    assert [(trace["ledger"], trace["installation"]) for trace in told["traces"]] == [
        ("ledger-0", HOME),
        ("ledger-1", AWAY),
    ]
    recorded = [moment for moment in told["timeline"] if moment["kind"] == "event_recorded"]
    assert [(moment["ledger"], moment["installation"]) for moment in recorded] == [
        ("ledger-0", HOME),
        ("ledger-1", AWAY),
    ]
    assert told["unanswered"] == []
    with service.without(AWAY):
        told = client.get("/v1/trace", params={"correlation_id": talk}).json()
        assert [trace["ledger"] for trace in told["traces"]] == ["ledger-0"]
        assert told["unanswered"] == [AWAY]
    nothing = client.get("/v1/trace", params={"correlation_id": "nobody-said-this"}).json()
    assert (nothing["traces"], nothing["timeline"]) == ([], [])


def test_a_webhook_is_in_one_installation(client: httpx2.Client) -> None:
    body = {"url": "https://192.0.2.1/hook", "ledgers": ["*"], "types": ["*"]}
    refused = client.post("/v1/webhooks", json=body)
    assert pointers_of(refused) == ["?installation"]
    made = {}
    for name in (HOME, AWAY):
        body["url"] = "https://93.184.216.34/hook"
        registered = client.post("/v1/webhooks", json=body, params={"installation": name})
        assert (registered.status_code, registered.json()["installation"]) == (201, name), registered.text
        made[registered.json()["id"]] = name
    listed = items(client, "/v1/webhooks", page_size=1)
    assert {hook["id"]: hook["installation"] for hook in listed} == made
    for id, name in made.items():
        path = f"/v1/webhooks/{id}"
        assert client.get(path).json()["installation"] == name
        assert client.get(f"{path}/deliveries").headers["ledger-installation"] == name
        disabled = client.post(f"{path}/disable", json={"reason": "a test"})
        assert (disabled.json()["state"], disabled.json()["installation"]) == ("disabled", name)
        assert client.delete(path).status_code == 204
        assert client.get(path).status_code == 404


def test_a_cursor_from_before_the_placement_goes_on_in_home(
    client: httpx2.Client, ledgers: dict[str, str]
) -> None:
    first = client.get("/v1/ledgers", params={"page_size": 2, "installation": HOME}).json()
    identity, places = from_json(decoded(first["next_cursor"]))
    listed = from_json(decoded(client.get("/v1/ledgers", params={"page_size": 1}).json()["next_cursor"]))[0]
    assert identity != listed
    old = encode_cursor(listed, places[HOME])
    names = items_after(client, "/v1/ledgers", old)
    left = set(ledgers) - {item["name"] for item in first["data"]}
    assert sorted(name for name in names if name in ledgers) == sorted(left)


def decoded(cursor: str) -> bytes:
    return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


def test_a_bridge_into_an_installation_that_is_not_named_says_so(
    client: httpx2.Client, service: Placed
) -> None:
    sender, receiver = f"s{uuid4().hex[:8]}", f"r{uuid4().hex[:8]}"
    for ledger, installation in ((sender, HOME), (receiver, AWAY)):
        opened = client.post("/v1/ledgers", json={"name": ledger, "installation": installation})
        assert opened.status_code == 201
        account = {"address": "a", "asset": "USD/2", "normal_side": "credit"}
        assert client.post(f"/v1/ledgers/{ledger}/accounts", json=account).status_code == 201
    bridge = {
        "account": "a",
        "amount": 5,
        "provider": "bridge",
        "destination": {"ledger": receiver, "account": "a"},
    }
    payouts = f"/v1/ledgers/{sender}/payouts"
    # A ledger that was found before is known to exist while its installation is away.
    assert client.post(payouts, json=bridge, headers={"Idempotency-Key": "first"}).is_success
    with service.without(AWAY):
        made = client.post(payouts, json=bridge, headers={"Idempotency-Key": "to-nowhere"})
        assert made.is_success, made.text
        path = f"/v1/ledgers/{sender}/payouts/{made.json()['id']}"
        query: dict[str, Any] = {"payout_seconds": 0, "order": "desc", "page_size": 1000}

        found: dict[str, Any] = {}

        def is_listed(*remedies: str) -> bool:
            nonlocal found
            listed = client.get("/v1/stuck", params=query).json()["data"]
            found = next((item for item in listed if item["resource"] == path), {})
            return found.get("remedy") in remedies

        eventually(lambda: is_listed("ask_provider", "start_worker"))
        with service.placement.database(HOME).connect("test") as home:
            take(home, "north", [receiver])
            eventually(lambda: is_listed("name_installation"))
            unnamed = found
            operation = client.get(f"/v1/ledgers/{sender}/operations/to-nowhere").json()
            correlation_id = operation["correlation_id"]
            told = [
                client.get(f"/v1/ledgers/{sender}/operations/to-nowhere/trace").json(),
                client.get(f"/v1/ledgers/{sender}/trace?correlation_id={correlation_id}").json(),
                *client.get(f"/v1/trace?correlation_id={correlation_id}").json()["traces"],
            ]
            take(home, AWAY, [receiver])
        assert len(told) == 3
        for trace in told:
            for verdict in (trace["verdict"], trace["operations"][0]["verdict"]):
                assert verdict["remedy"] == "name_installation"
                assert unnamed["why"].startswith(verdict["why"])
                assert verdict["safe_to_do"] == unnamed["safe_to_do"]
        assert unnamed["remedy"] == "name_installation"
        assert "in the installation north, which the placement does not name" in unnamed["why"]
        assert "TALLYSTICK_INSTALLATIONS" in unnamed["safe_to_do"]
