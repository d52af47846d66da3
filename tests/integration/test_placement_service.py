"""`tallystick serve` on a placement: its processes, an installation that is away, one that conflicts, and a kill -9."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
from nats.js.errors import NotFoundError

from domain.placement.ledger_map import LedgerMap
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.integration.streams import told
from tests.nats_server import NatsServer, serving_nats
from tests.projecting import eventually
from tests.receiver import receiving
from tests.service import ROOT, Service, post_ledger, serving

pytestmark = pytest.mark.integration


@pytest.fixture
def west(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own for the installation west. It is not running."""
    server = EmbeddedPostgres(tmp_path / "west")
    yield server
    server.stop()


def named(monkeypatch: pytest.MonkeyPatch, **installations: dict[str, str]) -> None:
    monkeypatch.setenv("TALLYSTICK_INSTALLATIONS", json.dumps(installations))


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command line in a process of its own, to its end."""
    command = [sys.executable, "-m", "scripts.tallystick", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def opened(client: httpx2.Client, ledger: str, installation: str) -> httpx2.Response:
    return client.post("/v1/ledgers", json={"name": ledger, "installation": installation})


def readiness(client: httpx2.Client) -> dict[str, bool]:
    return {found["name"]: found["is_ready"] for found in client.get("/v1/installations").json()["data"]}


def started(service: Service) -> set[str]:
    """The names of the processes that were started."""
    said = [json.loads(line) for line in service.output if line.startswith("{")]
    return {line["process"] for line in said if line["event"] == "started"}


def test_one_that_is_away_joins_when_it_comes(
    tmp_path: Path, west: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, east={}, north={"schema": "north"}, west={"database_url": west.url})
    with serving(tmp_path / "east", "--projectors", "2") as service, service.client() as client:
        assert readiness(client) == {"east": True, "north": True, "west": False}
        assert opened(client, "books", "east").status_code == 201
        assert opened(client, "payroll", "north").status_code == 201
        away = opened(client, "stock", "west")
        assert (away.status_code, away.json()["reason"]) == (503, "unreachable")
        of_each = {f"projector {name} {n}" for name in ("east", "north") for n in (1, 2)}
        beside = {"api 1", "simulator", "publisher east", "publisher north"}
        assert started(service) == of_each | beside
        west.start()
        eventually(lambda: readiness(client)["west"])
        assert opened(client, "stock", "west").json()["installation"] == "west"
        eventually(lambda: {"projector west 1", "projector west 2", "publisher west"} <= started(service))
        path = "/v1/ledgers/stock/accounts?min_position=1"
        eventually(lambda: client.get(path).status_code == 200)


def test_ledgers_stay_where_they_are_through_kills_and_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, east={}, west={"schema": "west"})
    with serving(tmp_path) as service, service.client() as client:
        assert opened(client, "payroll", "west").status_code == 201
        (api,) = service.processes("scripts.serving.processes", "api")
        api.send_signal(signal.SIGKILL)
        eventually(lambda: len(service.processes("scripts.serving.processes", "api")) == 1)
        eventually(lambda: answers(client))
        assert client.get("/v1/ledgers/payroll").json()["installation"] == "west"
        with psycopg.connect(EmbeddedPostgres(tmp_path).superuser_url) as owner:
            # As a process does that dies before it opens the ledger.
            owner.execute("SET search_path = tallystick")
            assert LedgerMap().claim(owner, "stock", "west") == "west"
    with serving(tmp_path) as service, service.client() as client:
        assert client.get("/v1/ledgers/payroll").headers["Ledger-Installation"] == "west"
        assert client.get("/v1/ledgers/stock").json()["code"] == "ledger_missing"
        again = client.post("/v1/ledgers", json={"name": "stock"})
        assert (again.status_code, again.json()["installation"]) == (201, "west")
    monkeypatch.delenv("TALLYSTICK_INSTALLATIONS")
    with serving(tmp_path, "--schema", "west") as service, service.client() as client:
        # Alone again, as a service of its own with its own keys, it has its ledgers and says nothing of a placement.
        shown = client.get("/v1/ledgers/payroll")
        assert shown.status_code == 200 and "installation" not in shown.json()
        assert "Ledger-Installation" not in shown.headers


def test_each_installation_tells_nats_and_receivers_of_what_it_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a ledger that moves while the service runs."""
    named(monkeypatch, east={}, west={"schema": "west"})
    with serving_nats(tmp_path / "nats") as broker, receiving() as receiver:
        for setting, value in {
            "NATS_URL": broker.url,
            "WEBHOOK_ALLOW_HTTP": "true",
            "WEBHOOK_ALLOW_PRIVATE": "true",
        }.items():
            monkeypatch.setenv(f"TALLYSTICK_{setting}", value)
        with serving(tmp_path / "east") as service, service.client() as client:
            hook = {"url": receiver.url, "ledgers": ["main"], "types": ["*"]}
            client.post("/v1/webhooks", params={"installation": "east"}, json=hook).raise_for_status()
            assert opened(client, "main", "east").status_code == 201
            assert opened(client, "payroll", "west").status_code == 201
            moved = run("place", "main", "--on", "west", "--yes", "--data-dir", str(tmp_path / "east"))
            assert moved.returncode == 0, moved.stderr
            of_main = ["ledger.opened", "ledger.move_started", "ledger.moved", "ledger.arrived"]
            eventually(lambda: len(set(receiver.ids())) == len(of_main))
            eventually(lambda: told_of(broker, "TALLYSTICK", "main") == of_main[:3])
            eventually(lambda: told_of(broker, "TALLYSTICK-west", "main") == of_main[3:])
            assert told_of(broker, "TALLYSTICK-west", "payroll") == ["ledger.opened"]


def told_of(broker: NatsServer, stream: str, ledger: str) -> list[str]:
    """The types of the events of a ledger that are in a stream."""
    try:
        messages = told(broker, name=stream)
    except NotFoundError:
        return []
    return [message.body["type"] for message in messages if message.body["data"]["ledger"] == ledger]


def test_two_ledgers_of_one_name_are_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for schema in ("tallystick", "west"):
        with serving(tmp_path, "--schema", schema) as service, service.client() as client:
            post_ledger(client, "main")
    named(monkeypatch, east={}, west={"schema": "west"})
    ended = run("serve", "--port", "0", "--data-dir", str(tmp_path))
    assert ended.returncode == 3
    said = "tallystick: two installations have a ledger of the same name: main (in "
    assert said in ended.stderr, ended.stderr


def test_another_home_and_another_name_are_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is entered or a key is made: the next start with the right names goes on as before."""
    east, west = {"schema": "tallystick"}, {"schema": "west"}
    named(monkeypatch, east=east, west=west)
    with serving(tmp_path) as service, service.client() as client:
        assert opened(client, "payroll", "west").status_code == 201
    for wrong, words in (
        ({"west": west, "east": east}, "east has the keys and the map of a placement, and west has none: "),
        ({"east": east, "other": west}, "other has the ledger payroll, which the map gives to west, and "),
    ):
        named(monkeypatch, **wrong)
        ended = run("serve", "--port", "0", "--data-dir", str(tmp_path))
        assert (ended.returncode, words in ended.stderr) == (3, True), ended.stderr
    named(monkeypatch, east=east, west=west)
    with serving(tmp_path) as service, service.client() as client:
        assert client.get("/v1/ledgers/payroll").headers["Ledger-Installation"] == "west"
        with psycopg.connect(EmbeddedPostgres(tmp_path).superuser_url) as owner:
            for table in ("placements", "api_keys"):
                assert owner.execute(f"SELECT count(*) FROM west.{table}").fetchall() == [(0,)]


def test_two_names_of_one_installation_are_refused_at_the_start(
    tmp_path: Path, west: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    west.start()
    # A copy of the database, as a restored backup is. It has no ledger yet.
    assert run("migrate", "--database-url", west.url).returncode == 0
    elsewhere = west.superuser_url.replace("/postgres?", "/template1?")
    with psycopg.connect(elsewhere, autocommit=True) as owner:
        owner.execute("CREATE DATABASE twin TEMPLATE postgres")
    twin = west.url.replace("/postgres?", "/twin?")
    named(monkeypatch, east={"database_url": west.url}, west={"database_url": twin})
    ended = run("serve", "--port", "0", "--data-dir", str(tmp_path))
    assert ended.returncode == 3
    assert " are one installation, or one is a copy of the other" in ended.stderr, ended.stderr


def test_none_that_answers_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"postgresql:///x?host={tmp_path}"
    named(monkeypatch, east={"database_url": nowhere}, west={"database_url": nowhere, "schema": "west"})
    ended = run("serve", "--port", "0", "--data-dir", str(tmp_path))
    assert ended.returncode == 3 and "is out of reach" in ended.stderr


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def test_migrations_reach_every_installation_unless_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, east={"schema": "east"}, west={"schema": "west"})
    migrated = run("migrate", "--data-dir", str(tmp_path))
    for name in ("east", "west"):
        assert f"schema {name} of {name} is up to date" in migrated.stdout, migrated.stderr
    told = run("migrate", "--data-dir", str(tmp_path), "--installation", "west")
    assert "of west is up to date" in told.stdout and "east" not in told.stdout, told.stderr
