"""`tallystick serve --read-only` as an operator runs it, and what happens to its copy meanwhile."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from psycopg import Connection
from pydantic import SecretStr

from api.security.keys import ensure_bootstrap_key
from api.service.connections import looked_up
from domain.application import LedgerApplication
from domain.journal.database import Database, ReadOnlyDatabase
from domain.journal.migrations import latest
from domain.model.errors import JournalUnavailable
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.integration.replicas.pairs import Servers, run, servers, write
from tests.placements import beside, prepared
from tests.service import KEY, ROOT, serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def both(module_path: Path) -> Iterator[Servers]:
    """A primary with an installation, and its standby. The last test promotes it."""
    with servers(module_path) as both:
        yield both


def ended(*options: str, command: Sequence[str] = ("serve", "--port", "0", "--read-only")) -> tuple[int, str]:
    command = [sys.executable, "-m", "scripts.tallystick", *command, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.splitlines()[-1]


@contextmanager
def changed(server: EmbeddedPostgres, change: str, back: str) -> Iterator[None]:
    """The installation is changed meanwhile."""
    run(server, f"SET search_path = tallystick; {change}")
    yield
    run(server, f"SET search_path = tallystick; {back}")


def test_it_needs_a_database_that_this_release_can_read(both: Servers, tmp_path: Path) -> None:
    primary, _ = both
    assert ended("--data-dir", str(tmp_path / "none")) == (
        3,
        "tallystick: a service that only reads needs the database that it reads: give a --database-url",
    )
    missing = ended("--database-url", primary.superuser_url, "--schema", "other")
    assert missing == (3, 'tallystick: the schema "other" was not migrated: run `tallystick migrate` first')
    applied = f"INSERT INTO migrations VALUES ('{latest()}')"
    with changed(primary, f"DELETE FROM migrations WHERE name = '{latest()}'", applied):
        code, words = ended("--database-url", primary.superuser_url)
    assert code == 3
    assert (
        f"the schema is older than this release, which reads {latest()}: migrate the primary first" in words
    )
    newer = "INSERT INTO migrations VALUES ('9999_newer'); ALTER TABLE dead_letters RENAME TO letters"
    as_before = "DELETE FROM migrations WHERE name = '9999_newer'; ALTER TABLE letters RENAME TO dead_letters"
    with changed(primary, newer, as_before):
        code, words = ended("--database-url", primary.superuser_url)
    assert code == 3
    assert "the schema is of a newer release (9999_newer), which this one cannot read" in words


def test_a_setting_of_a_replica_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_FORWARD", "true")
    assert ended() == (
        2,
        "tallystick: TALLYSTICK_FORWARD: needs TALLYSTICK_PRIMARY_URL, the address to pass requests on to",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TALLYSTICK_PRIMARY_URL", "http://127.0.0.1:1"),
        ("TALLYSTICK_MAX_REPLAY_LAG_SECONDS", "5"),
    ],
)
def test_a_setting_of_a_replica_is_refused_where_it_would_mean_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("TALLYSTICK_FORWARD", "false")
    assert ended("--data-dir", str(tmp_path / "none"), command=("serve", "--port", "0")) == (
        3,
        f"tallystick: {name} is for a service that only reads, and --read-only is missing: add it, or unset this",
    )
    assert not (tmp_path / "none").exists()


def test_what_writes_does_not_run_where_only_reading_is_asked_for(
    both: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_READ_ONLY", "true")
    code, words = ended("--database-url", both[0].superuser_url, command=("project",))
    assert (code, "this writes" in words) == (3, True)


def on_any(*hosts: EmbeddedPostgres) -> str:
    """The URL of whichever of some servers is a standby."""
    directories = ",".join(quote(parse_qs(urlsplit(host.superuser_url).query)["host"][0]) for host in hosts)
    query = f"host={directories}&target_session_attrs=standby"
    return urlsplit(hosts[0].superuser_url)._replace(query=query).geturl()


def test_it_serves_the_copies_of_a_placement_and_needs_one_of_them(
    both: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = beside(Database(both.primary.superuser_url), "east", "west")
    prepared(placed)
    ensure_bootstrap_key(placed[0].database, SecretStr(KEY))
    both.replayed()
    urls = {"east": on_any(both.primary, both.standby), "west": on_any(both.standby, both.primary)}
    copies = {name: {"database_url": urls[name], "schema": database.schema} for name, database in placed}
    copies["north"] = {"database_url": "postgresql://reader@127.0.0.1:9/books"}
    monkeypatch.setenv("TALLYSTICK_INSTALLATIONS", json.dumps(copies))
    with serving(tmp_path, "--read-only", key=None) as service, service.client() as client:
        installations = client.get("/v1/installations").json()["data"]
        assert {found["name"]: found["is_ready"] for found in installations} == {
            "east": True,
            "west": True,
            "north": False,
        }
        assert client.get("/v1/ledgers").json()["unanswered"] == ["north"]
        refused = client.post("/v1/ledgers", json={"name": "none", "installation": "west"})
        assert (refused.status_code, refused.json()["code"]) == (421, "read_only_replica")
        assert not [name for name in ("projector", "publisher") if service.processes(name)]
        assert service.stop() == 0
    twice = {"east": copies["east"], "west": {"database_url": both.primary.superuser_url}}
    monkeypatch.setenv("TALLYSTICK_INSTALLATIONS", json.dumps(twice))
    same = "tallystick: east and west are one installation, or one is a copy of the other"
    assert ended() == (3, same)
    monkeypatch.setenv("TALLYSTICK_INSTALLATIONS", json.dumps({"east": copies["east"], "west": {}}))
    needed = "a service that only reads needs the database that it reads: give a --database-url"
    assert ended() == (3, f"tallystick: {needed}")


class Overtaken:
    """A read that the standby has to end, because the primary changes what it reads. It is so for some attempts."""

    def __init__(self, primary: EmbeddedPostgres, times: int) -> None:
        self.attempts = 0
        self._primary = primary
        self._times = times

    def __call__(self, connection: Connection[Any]) -> int:
        self.attempts += 1
        with connection.transaction():
            connection.execute("SELECT FROM webhooks")
            if self.attempts <= self._times:
                run(self._primary, "BEGIN; LOCK TABLE tallystick.webhooks; COMMIT")
                connection.execute("SELECT pg_sleep(60)")
        return self.attempts


def test_a_read_that_replay_ends_is_repeated_once(both: Servers) -> None:
    primary, standby = both
    run(standby, "ALTER SYSTEM SET max_standby_streaming_delay = 0")
    run(standby, "SELECT pg_reload_conf()")
    ledger = LedgerApplication(ReadOnlyDatabase(standby.superuser_url))
    try:
        once, twice = Overtaken(primary, 1), Overtaken(primary, 2)
        assert looked_up(ledger, once) == 2
        with pytest.raises(JournalUnavailable) as refused:
            looked_up(ledger, twice)
        assert (refused.value.reason, twice.attempts) == ("replay", 2)
    finally:
        ledger.close()


def test_it_reads_on_when_its_standby_is_promoted(
    both: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, standby = both
    with serving(tmp_path / "first", "--database-url", primary.superuser_url) as first:
        with first.client() as client:
            open_book(client)
            before = write(client, "main")
        monkeypatch.setenv("TALLYSTICK_PRIMARY_URL", first.url)
        reading = serving(
            tmp_path / "reading", "--database-url", standby.superuser_url, "--read-only", key=None
        )
        with reading as replica:
            assert {
                name for name in ("projector", "publisher", "simulator") if replica.processes(name)
            } == set()
            assert not [line for line in replica.output if "API key" in line]
            with replica.client() as client:
                assert transactions(client, before) == 1
                first.stop()
                assert transactions(client, before) == 1
                run(standby, "SELECT pg_promote()")
                primary.stop()
                monkeypatch.delenv("TALLYSTICK_PRIMARY_URL")
                with serving(tmp_path / "second", "--database-url", standby.superuser_url) as second:
                    with second.client() as writer:
                        after = write(writer, "main")
                    assert after > before
                    assert transactions(client, after) == 2
                    refused = client.post("/v1/ledgers", json={"name": "none"})
                    assert refused.status_code == 421
                assert "tallystick_replay_lag_seconds 0.0" in client.get("/metrics").text
                assert client.get("/readyz").status_code == 200
            assert replica.stop() == 0


def open_book(client: Any) -> None:
    assert client.post("/v1/ledgers", json={"name": "main"}).status_code == 201
    for address in ("a", "b"):
        account = {"address": address, "asset": "USD/2", "normal_side": "credit"}
        assert client.post("/v1/ledgers/main/accounts", json=account).status_code == 201


def transactions(client: Any, position: int) -> int:
    """How many transactions a list shows that reflects a position."""
    listed = client.get(
        "/v1/ledgers/main/transactions", params={"min_position": position}, headers={"Prefer": "wait=30"}
    )
    assert listed.status_code == 200, listed.text
    return len(listed.json()["data"])
