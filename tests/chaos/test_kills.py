"""kill -9 of any process of the service, under load: nothing acknowledged is lost, nothing is applied twice.

Every run does a short round. `TALLYSTICK_KILLS=30` makes thirty kills of each kind.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import psutil
import psycopg
import pytest

from domain.journal.database import Database
from domain.model.idempotency import operation_id
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.chaos.load import (
    ACCOUNTS,
    GIVE_UP_SECONDS,
    KILLS,
    Answer,
    Load,
    one_that_passes_on,
    the_one_that_commits,
    the_postmaster,
    the_projector,
)
from tests.ledgers import folded, history
from tests.service import Service, post_account, post_ledger, serving

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]


def a_backend_of_a_writer(service: Service) -> psutil.Process | None:
    """The server process of a writer's connection. Killing it makes PostgreSQL recover from a crash."""
    (postmaster,) = service.processes("bin/postgres", "-D")
    with psycopg.connect(_url_of(postmaster)) as connection:
        row = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'tallystick writer' LIMIT 1"
        ).fetchone()
    return psutil.Process(row[0]) if row else None


def _url_of(postmaster: psutil.Process) -> str:
    data = Path(postmaster.cmdline()[postmaster.cmdline().index("-D") + 1])
    return EmbeddedPostgres(data.parent.parent).url


@pytest.mark.parametrize(
    "victim",
    [the_one_that_commits, one_that_passes_on, the_projector, a_backend_of_a_writer, the_postmaster],
    ids=lambda f: f.__name__,
)
def test_nothing_acknowledged_is_lost_and_nothing_applied_twice(
    tmp_path: Path, victim: Callable[[Service], psutil.Process | None]
) -> None:
    killed = 0
    with serving(tmp_path / "data", "--workers", "2") as service:
        with service.client() as client:
            _open_accounts(client)
        with Load(service) as load:
            give_up_at = monotonic() + 60 + 20 * KILLS
            while killed < KILLS and monotonic() < give_up_at:
                answered = len(load.answers)
                while len(load.answers) < answered + 30 and monotonic() < give_up_at:
                    assert service.process.poll() is None, "".join(service.output)
                    sleep(0.01)
                try:
                    if process := victim(service):
                        process.kill()
                        killed += 1
                except (psycopg.OperationalError, psutil.NoSuchProcess, ValueError):
                    sleep(0.05)
            sleep(0.3)
        assert killed == KILLS
        assert not load.faults
        with service.client() as client:
            _every_answer_stands(client, load.answers)
            _projections_agree(client, service)
        database = Database(EmbeddedPostgres(tmp_path / "data").url)
        _the_journal_explains(database, load.answers)
        assert service.stop() == 0


def test_a_process_that_hangs_while_it_commits_for_others_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Stopped, and not dead: its connections stay open, and it goes on later with what it was asked for."""
    with serving(tmp_path / "data", "--workers", "3") as service:
        with service.client() as client:
            _open_accounts(client)
        stopped = the_one_that_commits(service)
        assert stopped is not None
        with Load(service) as load:
            _answered(service, load, 50)
            stopped.suspend()
            try:
                _answered(service, load, 50)
            finally:
                stopped.resume()
            _answered(service, load, 50)
        assert not load.faults
        assert stopped.is_running() and "inside" in stopped.cmdline()
        with service.client() as client:
            _every_answer_stands(client, load.answers)
            _projections_agree(client, service)
        _the_journal_explains(Database(EmbeddedPostgres(tmp_path / "data").url), load.answers)
        assert service.stop() == 0


def _answered(service: Service, load: Load, count: int) -> None:
    """Wait until so many more requests are answered."""
    wanted, give_up_at = len(load.answers) + count, monotonic() + GIVE_UP_SECONDS
    while len(load.answers) < wanted:
        assert service.process.poll() is None and monotonic() < give_up_at, "".join(service.output)
        sleep(0.01)


def _open_accounts(client: httpx2.Client) -> None:
    post_ledger(client)
    for address in ACCOUNTS:
        post_account(client, address, min_balance=0 if address == "limited" else None)


def _every_answer_stands(client: httpx2.Client, answers: list[Answer]) -> None:
    for key, body, status, told in answers:
        again = _posted(client, key, body)
        give_up_at = monotonic() + GIVE_UP_SECONDS
        while (
            again.status_code == 503 and monotonic() < give_up_at
        ):  # it may not have noticed the last kill yet
            sleep(0.05)
            again = _posted(client, key, body)
        assert again.headers.get("Idempotent-Replayed") == "true", again.text
        assert (again.status_code, again.json()) == (status, told)


def _posted(client: httpx2.Client, key: str, body: dict[str, Any]) -> httpx2.Response:
    return client.post("/v1/ledgers/main/transactions", json=body, headers={"Idempotency-Key": key})


def _projections_agree(client: httpx2.Client, service: Service) -> None:
    for address in ACCOUNTS:
        path = f"/v1/ledgers/main/accounts/{address}"
        confirmed = client.get(path)
        head = confirmed.headers["Ledger-Position"]
        projected = client.get(path, params={"consistency": "eventual", "min_position": head})
        assert projected.status_code == 200, "".join(service.output)
        assert projected.json() == confirmed.json()


def _the_journal_explains(database: Database, answers: list[Answer]) -> None:
    events = history(database)
    states = folded(events)
    posted = {answer.key: answer for answer in answers if answer.status == 201}
    recorded = Counter(
        event.envelope.idempotency_key for event in events if event.event.TOPIC == "transaction.posted"
    )
    assert set(recorded) == set(posted) and set(recorded.values()) <= {1}
    balances = Counter(dict.fromkeys(ACCOUNTS, 0))
    for answer in posted.values():
        for entry in answer.body["entries"]:
            balances[entry["account"]] += entry["amount"] * (1 if entry["direction"] == "credit" else -1)
        assert answer.answer["id"] == operation_id("main", answer.key)
    assert {address: states[f"main/accounts/{address}"].balance for address in ACCOUNTS} == dict(balances)
    limited = 0
    for event in events:
        if event.stream == "main/accounts/limited" and event.event.TOPIC == "account.entries_posted":
            limited += event.event.credits - event.event.debits  # type: ignore[attr-defined]
            assert limited >= 0
