"""kill -9 of the delivering processes, under load: every event arrives at least once, in order, and every attempt is
recorded.

Every run does a short round. `TALLYSTICK_KILLS=30` makes thirty kills of each kind.
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import psutil
import psycopg
import pytest

from tests.chaos.load import Load, the_postmaster, the_projector
from tests.receiver import Received, Receiver, Reply, receiving
from tests.service import Service, post_account, post_ledger, serving

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

KILLS = int(os.environ.get("TALLYSTICK_KILLS", "3"))
CATCH_UP_SECONDS = 180.0
MAX_BEHIND_EVENTS = 1000
ACCOUNTS = ["limited", "users:1", "users:2", "users:3"]


class PacedLoad(Load):
    """Clients that do not run away from who delivers: what is left at the end does not grow with the kills."""

    def __init__(self, service: Service, receiver: Receiver) -> None:
        super().__init__(service)
        self._receiver = receiver

    def asked(self, chance: random.Random) -> tuple[dict[str, Any], dict[str, str]]:
        """A body and headers, once most of what was recorded has arrived."""
        while self._behind() > MAX_BEHIND_EVENTS and not self._stop.is_set():
            sleep(0.05)
        return super().asked(chance)

    def _behind(self) -> int:
        newest = next((of.answer["position"] for of in reversed(self.answers) if of.status == 201), 0)
        return int(newest) - len(self._receiver.received)


def the_publisher(service: Service) -> psutil.Process | None:
    return next(iter(service.processes("scripts.serving.processes", "publisher")), None)


@pytest.mark.parametrize(
    "victim",
    [the_publisher, the_projector, the_postmaster],
    ids=lambda victim: victim.__name__,
)
def test_every_event_arrives_in_order_and_every_attempt_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: Callable[[Service], psutil.Process | None]
) -> None:
    monkeypatch.setenv("TALLYSTICK_WEBHOOK_ALLOW_PRIVATE", "true")
    monkeypatch.setenv("TALLYSTICK_WEBHOOK_ALLOW_HTTP", "true")
    monkeypatch.setenv("TALLYSTICK_WEBHOOK_FIRST_WAIT_SECONDS", "0.01")
    with receiving() as receiver, serving(tmp_path / "data") as service:
        receiver.behave = _moody(random.Random(1))
        with service.client() as client:
            hook = _register(client, receiver)
            _open_accounts(client)
            with PacedLoad(service, receiver) as load:
                _kill_again_and_again(service, receiver, victim)
            assert not load.faults
            after, head = hook["position"], int(client.get("/v1/ledgers/main").headers["Ledger-Position"])
            _await_arrival(receiver, head - after)
            _all_is_on_record(client, hook, receiver)
        assert set(receiver.positions()) == set(range(after + 1, head + 1))
        _in_order(receiver, hook["secret"])
        assert service.stop() == 0


def _moody(chance: random.Random) -> Callable[[Received, int], Reply]:
    """A receiver that sometimes fails, even after it has taken the message."""

    def behave(received: Received, count: int) -> Reply:
        return Reply(chance.choice((500, None)) if chance.random() < 0.02 else 204)

    return behave


def _register(client: httpx2.Client, receiver: Receiver) -> dict[str, Any]:
    body = {"url": receiver.url, "ledgers": ["*"], "types": ["*"]}
    answer = client.post("/v1/webhooks", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _open_accounts(client: httpx2.Client) -> None:
    post_ledger(client)
    for address in ACCOUNTS:
        post_account(client, address, min_balance=0 if address == "limited" else None)


def _kill_again_and_again(
    service: Service, receiver: Receiver, victim: Callable[[Service], psutil.Process | None]
) -> None:
    killed, give_up_at = 0, monotonic() + 60 + 20 * KILLS
    while killed < KILLS:
        assert monotonic() < give_up_at and service.process.poll() is None, "".join(service.output)
        arrived = len(receiver.received)
        while len(receiver.received) < arrived + 20 and monotonic() < give_up_at:
            sleep(0.01)
        try:
            if process := victim(service):
                process.kill()
                killed += 1
        except (psycopg.OperationalError, psutil.NoSuchProcess, ValueError):
            sleep(0.05)


def _await_arrival(receiver: Receiver, count: int) -> None:
    give_up_at = monotonic() + CATCH_UP_SECONDS
    while len(set(receiver.ids())) < count:
        assert monotonic() < give_up_at, f"{len(set(receiver.ids()))} of {count} arrived"
        sleep(0.2)


def _all_is_on_record(client: httpx2.Client, hook: dict[str, Any], receiver: Receiver) -> None:
    give_up_at = monotonic() + CATCH_UP_SECONDS
    while found := _deliveries(client, hook, ["pending", "sent"]):
        assert monotonic() < give_up_at, found
        sleep(0.2)
    arrivals = Counter(receiver.ids())
    for delivery in _deliveries(client, hook, ["acknowledged"]):
        *failed, last = delivery["attempts"]
        assert last["outcome"] == "acknowledged" and {of["outcome"] for of in failed} <= {"failed"}
        # Each arrival is a recorded attempt, but an attempt that was cut off may not have arrived.
        assert 1 <= arrivals.pop(delivery["event_id"]) <= len(delivery["attempts"])
        in_doubt = any(of["status_code"] is None for of in failed)
        assert in_doubt or not any(of["duplicated"] for of in delivery["attempts"])
    assert not arrivals


def _deliveries(client: httpx2.Client, hook: dict[str, Any], states: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for state in states:
        query: dict[str, Any] = {"state": state, "page_size": 1000}
        while True:
            page = client.get(f"/v1/webhooks/{hook['id']}/deliveries", params=query).json()
            found += page["data"]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
    return found


def _in_order(receiver: Receiver, secret: str) -> None:
    """Assert that first arrivals of each key's events are in order and that the receiver's library verifies
    them all.
    """
    first: set[str] = set()
    last: dict[str, int] = {}
    for received in receiver.received:
        if received.id not in first:
            first.add(received.id)
            key = received.verified(secret)["partitionkey"]
            assert last.get(key, 0) < received.position
            last[key] = received.position
