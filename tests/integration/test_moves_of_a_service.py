"""A placement serves while a ledger moves and comes back: whatever leaves the service goes on, whole and once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic_core import to_json
from standardwebhooks import Webhook
from typer.testing import CliRunner

from api.client import Unusable
from api.client.synchronous import Tallystick
from domain.journal.database import Database
from domain.placement import mover
from projections.process_managers.providers.settings import ProviderSettings
from projections.running.positions import all_progress
from scripts.serving.simulator_beside import listen
from scripts.simulator.callbacks import Callbacks
from scripts.simulator.faults import Faults, Rates, Script
from scripts.simulator.server import Simulator
from scripts.tallystick import application
from tests.contract.serving import KEY, SECRET
from tests.integration import streams
from tests.integration.streams import told
from tests.nats_server import NatsServer, serving_nats
from tests.outboxes import publishing
from tests.placements import Placement, beside, environment_of, placement_on, prepared
from tests.projecting import eventually
from tests.receiver import Receiver, receiving

pytestmark = pytest.mark.integration

MAIN = "/v1/ledgers/main"
SILENT = {"name": "silent"}
"""A destination of which the provider says nothing by itself: a payout to it is under way until a callback comes."""


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    faults = Faults(0, Rates())
    faults.follow(Script(destination=SILENT, lose=True, delay_seconds=10 * 86_400.0))
    running = Simulator(listen(0), faults, Callbacks(None, SECRET))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[NatsServer]:
    with serving_nats(tmp_path) as broker:
        yield broker


@pytest.fixture
def placement(
    database: Database, simulator: Simulator, broker: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Placement]:
    """A placement that does all that its processes would do, with the ledger main at east behind another one."""
    monkeypatch.setattr(mover, "KNOWN_SECONDS", 1.0)
    placed = beside(database, "east", "west")
    prepared(placed)
    for name, value in environment_of(placed).items():
        monkeypatch.setenv(name, value)
    provider = ProviderSettings.model_validate({"url": simulator.url, "secret": SECRET, "timeout_seconds": 5})
    private = {"webhook_allow_private": True, "webhook_allow_http": True}
    with ExitStack() as stack:
        placement = stack.enter_context(placement_on(placed, providers={"simulator": provider}, **private))
        for _, of in placed:
            stack.enter_context(publishing(of))
        stack.enter_context(streams.publishing(placed[0].database, broker))
        stack.enter_context(streams.publishing(placed[1].database, broker, "TALLYSTICK-west", "west"))
        with placement.client() as client:
            for ledger in ("beside", "main"):
                opened(client, ledger)
        yield placement


def opened(client: httpx2.Client, ledger: str) -> None:
    client.post("/v1/ledgers", json={"name": ledger}).raise_for_status()
    for address in ("a", "b", "alice"):
        body = {"address": address, "asset": "USD/2", "normal_side": "credit"}
        client.post(f"/v1/ledgers/{ledger}/accounts", json=body).raise_for_status()


def posted(client: httpx2.Client, key: str, **more: Any) -> dict[str, Any]:
    """Post under a key until the ledger takes it."""
    entries = [
        {"account": account, "direction": direction, "amount": 1}
        for account, direction in (("a", "debit"), ("b", "credit"))
    ]
    answers: list[httpx2.Response] = []

    def is_taken() -> bool:
        body, keyed = {"entries": entries, **more}, {"Idempotency-Key": key}
        answers.append(client.post(f"{MAIN}/transactions", json=body, headers=keyed))
        return answers[-1].status_code in (200, 201)

    eventually(is_taken)
    found: dict[str, Any] = answers[-1].json()
    return found


def place(on: str) -> str:
    result = CliRunner().invoke(application(["place"]), ["place", "main", "--on", on, "--yes"])
    assert result.exit_code == 0, result.output
    return result.output


def reported(client: httpx2.Client, payout: dict[str, Any]) -> None:
    """Have the provider say that it has paid."""
    data = {"key": payout["provider_key"], "state": "completed", "amount": 40, "asset": "USD/2"}
    text = to_json({"type": "payout.completed", "timestamp": "2026-11-23T20:00:00Z", "data": data}).decode()
    at = datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": f"msg-{payout['id']}",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(f"msg-{payout['id']}", at, text),
    }
    path = "/v1/providers/simulator/callbacks"
    client.post(path, content=text, headers=headers).raise_for_status()


def test_everything_that_leaves_the_service_goes_on(
    placement: Placement, simulator: Simulator, broker: NatsServer
) -> None:
    stop = threading.Event()
    followed: list[Any] = []
    keys: list[str] = []

    def follow() -> None:
        with suppress(Unusable):  # the test is over
            followed.extend(tally.ledger("main").events(follow=True))

    def keep_posting() -> None:
        with placement.client() as client:
            while not stop.is_set():
                posted(client, f"key-{len(keys)}")
                keys.append(f"key-{len(keys)}")
                stop.wait(0.02)

    threads = [threading.Thread(target=run) for run in (follow, keep_posting)]
    with (
        receiving() as receiver,
        placement.client() as client,
        ended(threads[0]),
        Tallystick(placement.url, KEY) as tally,
    ):
        hook = {"url": receiver.url, "ledgers": ["main"], "types": ["*"]}
        asked = {"installation": "east"}
        made = client.post("/v1/webhooks", json=hook, params=asked).raise_for_status().json()
        known = len(events(client))
        for thread in threads:
            thread.start()
        try:
            body = {"account": "alice", "amount": 40, "provider": "simulator", "destination": SILENT}
            keyed = {"Idempotency-Key": "paid"}
            payout = client.post(f"{MAIN}/payouts", json=body, headers=keyed).raise_for_status().json()
            eventually(lambda: bool(simulator.books.shown()))
            expiring = [
                posted(client, f"hold-{seconds}", pending=True, expires_at=soon(seconds))
                for seconds in (1, 3, 10)
            ]
            said = place("west")
            assert receiver.url in said and "as a new webhook" in said
            reported(client, payout)
            there = client.get(f"{MAIN}/payouts/{payout['id']}").raise_for_status()
            assert (there.json()["state"], there.headers["Ledger-Installation"]) == ("completed", "west")
            eventually(lambda: all(state_of(client, hold) == "expired" for hold in expiring[:2]))
            again = place("east")
            assert receiver.url in again and "as the webhook that is there" in again
            eventually(lambda: state_of(client, expiring[2]) == "expired")
        finally:
            stop.set()
            threads[1].join()
        every = events(client)
        eventually(lambda: len(followed) >= len(every))
        eventually(lambda: is_told(placement))
        found = client.get("/v1/webhooks").json()["data"]
        eventually(lambda: not any(waiting(client, webhook) for webhook in found))

        # Clients that follow the ledger, receivers of webhooks, and NATS have each event once, at the same position.
        positions = [event["position"] for event in every]
        assert positions == sorted(set(positions))
        assert [event.position for event in followed] == positions
        assert messages_of(receiver, made["secret"]) == told_as(every[known:])
        on_broker = [*told(broker), *told(broker, name="TALLYSTICK-west")]
        of_main = [message for message in on_broker if message.body["data"]["ledger"] == "main"]
        assert len({message.headers["Nats-Msg-Id"] for message in of_main}) == len(of_main)
        assert dict(sorted((of.body["id"], of.body["type"]) for of in of_main)) == told_as(every)
        assert len(of_main) == len(every)
        assert {(hook["installation"], *hook["ledgers"]) for hook in found} == {
            ("east", "main"),
            ("west", "main"),
        }

        # What was under way has ended once, and nothing was lost or set aside.
        types = Counter(event["type"] for event in every)
        assert (types["transaction.hold_expired"], types["payout.completed"]) == (len(expiring), 1)
        assert [line["submissions"] for line in simulator.books.shown()] == [1]
        assert client.get(f"{MAIN}/accounts/b").json()["balance"] == len(keys)
        dead_letters = client.get("/v1/dead-letters").json()
    assert (dead_letters["data"], dead_letters["unanswered"]) == ([], [])


@contextmanager
def ended(thread: threading.Thread) -> Iterator[None]:
    """Wait for the end of a thread that was started meanwhile."""
    yield
    if thread.ident is not None:
        thread.join()


def events(client: httpx2.Client) -> list[dict[str, Any]]:
    """All events of the ledger main."""
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {"page_size": 100}
    while True:
        page = client.get(f"{MAIN}/events", params=params).raise_for_status().json()
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


def told_as(events: list[dict[str, Any]]) -> dict[str, str]:
    return dict(sorted((f"main/{event['position']}", event["type"]) for event in events))


def messages_of(receiver: Receiver, secret: str) -> dict[str, str]:
    """What a receiver was told, after each signature was verified."""
    bodies = [received.verified(secret) for received in receiver.received]
    return dict(sorted((body["id"], body["type"]) for body in bodies))


def state_of(client: httpx2.Client, transaction: dict[str, Any]) -> str:
    found = client.get(f"{MAIN}/transactions/{transaction['id']}").raise_for_status().json()
    return str(found["status"])


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def is_told(placement: Placement) -> bool:
    """Whether every read model and publisher of both installations is at the head."""
    for _, database in placement.installations:
        with database.connect("test") as connection:
            if any(each.lag_events for each in all_progress(connection)):
                return False
    return True


def waiting(client: httpx2.Client, webhook: dict[str, Any]) -> bool:
    deliveries = f"/v1/webhooks/{webhook['id']}/deliveries"
    states = ("pending", "sent", "failed")
    return any(client.get(deliveries, params={"state": state}).json()["data"] for state in states)
