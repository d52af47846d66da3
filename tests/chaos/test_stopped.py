"""A machine hangs: every process of one service is stopped, and another on the same database takes over its places.

When the first continues, nothing is lost or done twice, and both serve.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import psycopg
import pytest

from domain.journal.database import Database
from projections.registry import PROJECTIONS
from projections.running.positions import all_progress
from tests.ledgers import folded, history
from tests.projecting import eventually
from tests.receiver import receiving
from tests.service import Service, post_account, post_ledger, serving, transfer_body

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

HOLDERS = {"projections", "sealer", "worker", "payer", "publisher"}
TAKEN_WITHIN_SECONDS = 20.0
ANSWERED_WITHIN_SECONDS = 15.0

_PLACES = """
SELECT l.classid::text || '/' || l.objid::text, l.pid, a.application_name
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted AND a.datname = current_database()
AND l.database = a.datid AND a.application_name <> 'tallystick waiter'
"""


def places(owner: psycopg.Connection[Any]) -> dict[str, int]:
    """The holder of each place, as the process id of its session at the server."""
    rows = owner.execute(_PLACES).fetchall()
    found = {place: pid for place, pid, _ in rows}
    assert len(rows) == len(found), "a place has two holders"
    return found


def holders(owner: psycopg.Connection[Any]) -> set[str]:
    """What holds places."""
    return {name.removeprefix("tallystick ") for _, _, name in owner.execute(_PLACES)}


def signal_all(service: Service, number: signal.Signals) -> None:
    for pid in (service.process.pid, *(process.pid for process in service.processes())):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.fixture
def services(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Service, Service]]:
    """Two services on one database, as on two machines. The first holds all places."""
    monkeypatch.setenv("TALLYSTICK_WEBHOOK_ALLOW_PRIVATE", "true")
    monkeypatch.setenv("TALLYSTICK_WEBHOOK_ALLOW_HTTP", "true")
    options = ("--database-url", database.url, "--schema", database.schema)
    with ExitStack() as stack:
        first = stack.enter_context(serving(tmp_path / "first", *options))
        with database.connect_as_owner("test") as owner:
            eventually(lambda: holders(owner) == HOLDERS)
            eventually(lambda: len(places(owner)) == len(PROJECTIONS) + len(HOLDERS) - 1)
        second = stack.enter_context(serving(tmp_path / "second", *options))
        stack.callback(signal_all, first, signal.SIGCONT)
        yield first, second


def post(client: httpx2.Client, key: str, **members: Any) -> httpx2.Response:
    body = {**transfer_body("users:1", "users:2", 1), **members}
    return client.post("/v1/ledgers/main/transactions", json=body, headers={"Idempotency-Key": key})


def test_another_takes_over_all_that_a_stopped_machine_held(
    services: tuple[Service, Service], database: Database, owner: psycopg.Connection[Any]
) -> None:
    first, second = services
    with first.client() as at_first, second.client(40.0) as client, receiving() as receiver:
        post_ledger(client)
        post_account(client, "users:1")
        post_account(client, "users:2")
        hook = client.post("/v1/webhooks", json={"url": receiver.url, "ledgers": ["main"], "types": ["*"]})
        assert hook.status_code == 201, hook.text
        assert post(at_first, "before").status_code == 201
        before = places(owner)
        signal_all(first, signal.SIGSTOP)
        stopped_at = monotonic()
        for number in range(5):
            began = monotonic()
            assert post(client, f"meanwhile-{number}").status_code == 201
            assert monotonic() - began < ANSWERED_WITHIN_SECONDS
        while places(owner).keys() != before.keys() or set(places(owner).values()) & set(before.values()):
            assert monotonic() - stopped_at < TAKEN_WITHIN_SECONDS, (before, places(owner))
            sleep(0.1)
        answer = post(client, "taken-over").headers
        later = client.post(
            "/v1/ledgers/main/transactions",
            json=transfer_body("users:1", "users:2", 1),
            headers={"Idempotency-Key": "accepted", "Prefer": "respond-async"},
        )
        assert later.status_code == 202
        position = answer["ledger-position"]
        listed = client.get(
            f"/v1/ledgers/main/transactions?min_position={position}", headers={"Prefer": "wait=20"}
        )
        assert listed.status_code == 200
        operation = "/v1/ledgers/main/operations/accepted"
        eventually(lambda: client.get(operation).json()["state"] == "completed")
        eventually(lambda: is_sealed(owner))
        signal_all(first, signal.SIGCONT)
        for number in range(20):
            assert post(at_first, f"afterwards-{number}").status_code == 201
            assert post(client, f"afterwards-{number}").headers["idempotent-replayed"] == "true"
        eventually(lambda: all(of.reflects(of.head) for of in all_progress(owner)))
        eventually(lambda: is_sealed(owner))
        eventually(
            lambda: set(owner.execute("SELECT state FROM deliveries").fetchall()) == {("acknowledged",)}
        )
    # Each place has one holder, and everything is recorded once.
    assert places(owner).keys() == before.keys()
    events = history(database)
    keys = [
        event.envelope.idempotency_key for event in events if event.stream.startswith("main/accounts/users:1")
    ]
    assert len(keys) == len(set(keys))
    folded(events)


def is_sealed(owner: psycopg.Connection[Any]) -> bool:
    """Whether the newest checkpoint covers the whole journal."""
    return owner.execute(
        "SELECT (SELECT max(size) FROM checkpoints) = (SELECT position FROM head)"
    ).fetchone() == (True,)
