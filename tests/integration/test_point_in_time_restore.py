"""A database restored to an earlier moment by the steps of scripts/BACKUP.md, and made whole by clients who repeat.

The steps are those of the page: its blocks of settings and commands are run as they stand there.
"""

import json
import os
import re
import subprocess
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from domain.journal.database import Database
from scripts.doctor import backups
from scripts.serving.embedded_postgres import EmbeddedPostgres, binaries
from tests.integration.doctor.examining import codes, everything
from tests.integration.exporting import run, seal_all
from tests.projecting import eventually
from tests.receiver import Receiver, receiving
from tests.service import ROOT, post_account, post_ledger, serving, transfer_body
from tests.simulating import free_port, settings_of, simulating

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PAGE = (ROOT / "scripts/BACKUP.md").read_text(encoding="utf-8")
ARCHIVING, RECOVERING = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
_, BASE_BACKUP, _, COPYING, _, COMPARING = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
BEFORE_THE_BACKUP, BEFORE_THE_MOMENT, AFTER_IT, LATER = (range(at, at + 5) for at in (1, 6, 11, 16))


class Machine:
    """The paths of the page, in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.checkpoints = folder / "checkpoints"
        self.checkpoints.mkdir()

    def text(self, block: str) -> str:
        """A block of the page, with the test's own paths."""
        places = {
            "/archive": self._folder / "archive",
            "/backups/base": self._folder / "base",
            "/restored": self._folder / "new/postgres/data",
        }
        for place, path in places.items():
            block = block.replace(place, str(path))
        return block

    def run(self, block: str, server: EmbeddedPostgres, *, as_postgres: bool = False) -> str:
        """Run a block of the page in a shell, as PostgreSQL's user if it handles PostgreSQL's files."""
        owner = (server.data_dir / "postgres/data").stat()
        user: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid} if as_postgres else {}
        path = os.pathsep.join([sysconfig.get_path("scripts"), str(binaries()), os.environ["PATH"]])
        at = {"PGHOST": str(server.data_dir / "postgres"), "PGUSER": "postgres", "URL": server.url}
        done = subprocess.run(
            ["bash", "-c", self.text(block)],
            **user,
            cwd="/" if as_postgres else self._folder,
            env={**os.environ, **at, "PATH": path, "LC_ALL": "C", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0 or block == COMPARING, done.stderr
        output: str = done.stdout
        return output

    def set(self, server: EmbeddedPostgres, file: str, block: str) -> None:
        """Add settings of the page to a file of a server that does not run."""
        with (server.data_dir / "postgres/data" / file).open("a", encoding="utf-8") as settings:
            settings.write(f"\n{self.text(block)}")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def old(machine: Machine, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that archives its log."""
    server = EmbeddedPostgres(tmp_path / "old")
    server.start()
    server.stop()
    owner = (tmp_path / "old/postgres/data").stat()
    for place in (tmp_path / "archive", tmp_path / "base", tmp_path / "new/postgres"):
        place.mkdir(mode=0o700, parents=True)
        os.chown(place, owner.st_uid, owner.st_gid)
    machine.set(server, "postgresql.conf", ARCHIVING)
    server.start()
    yield server
    server.stop()


def value(server: EmbeddedPostgres, query: str) -> Any:
    options = "-c search_path=tallystick"
    with psycopg.connect(server.superuser_url, options=options, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


@contextmanager
def served(server: EmbeddedPostgres, port: int, folder: Path) -> Iterator[httpx2.Client]:
    """A client of a service on a database."""
    options = ("--database-url", server.url, "--port", str(port))
    with serving(folder / "service", *options) as service, service.client() as client:
        yield client


def repeat(client: httpx2.Client, *numbers: int) -> None:
    """Transfer 1 under each of these numbers' keys. A known key is answered again."""
    for number in numbers:
        key = {"Idempotency-Key": f"transfer-{number}"}
        answer = client.post(
            "/v1/ledgers/main/transactions", json=transfer_body("wallet", "shop", 1), headers=key
        )
        assert answer.status_code == 201, answer.text


def pay_out(client: httpx2.Client, name: str) -> str:
    """Ask for a payout of 100 under a key; return its path."""
    body = {"account": "wallet", "amount": 100, "provider": "simulator", "destination": {"iban": name}}
    asked = client.post("/v1/ledgers/main/payouts", json=body, headers={"Idempotency-Key": name})
    assert asked.status_code == 202, asked.text
    return asked.headers["location"]


def open_books(client: httpx2.Client) -> None:
    post_ledger(client)
    for address in ("cash", "wallet", "shop"):
        post_account(client, address, normal_side="debit" if address == "cash" else "credit")
    deposit = transfer_body("cash", "wallet", 1000)
    made = client.post("/v1/ledgers/main/transactions", json=deposit, headers={"Idempotency-Key": "deposit"})
    assert made.status_code == 201, made.text


def is_completed(client: httpx2.Client, payout: str) -> bool:
    return bool(client.get(payout).json()["state"] == "completed")


def balances(client: httpx2.Client) -> dict[str, Any]:
    addresses = ("cash", "wallet", "shop", "providers:simulator:USD")
    found = {name: client.get(f"/v1/ledgers/main/accounts/{name}").json() for name in addresses}
    return {name: {part: of[part] for part in ("posted", "pending")} for name, of in found.items()}


def save_checkpoint(client: httpx2.Client, server: EmbeddedPostgres, folder: Path) -> int:
    """Save a checkpoint of everything recorded so far; return its size."""
    head = value(server, "SELECT position FROM head")
    answer = client.get("/v1/audit/checkpoint", params={"min_position": head}, headers={"Prefer": "wait=30"})
    size = int(answer.text.splitlines()[1])
    assert size >= head
    (folder / str(size)).write_text(answer.text)
    return size


def verify(server: EmbeddedPostgres, *checkpoints: Path) -> tuple[int, str, dict[str, str]]:
    """What `tallystick verify --live` ends with, what it shows of the checkpoint, and its findings."""
    saved = [part for path in checkpoints for part in ("--checkpoint", path)]
    done = run("verify", "--live", "--json", *saved, database=Database(server.url))
    said = json.loads(done.stdout)
    return (
        done.exit_code,
        said["saved"]["shown"] or "",
        {f["code"]: f["examples"][0] for f in said["findings"]},
    )


def archive_all(server: EmbeddedPostgres) -> None:
    segment = value(server, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    value(server, "SELECT pg_switch_wal()")
    eventually(
        lambda: value(server, "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") >= segment
    )


def test_clients_who_repeat_make_a_restored_ledger_whole(
    machine: Machine, old: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider_port, port = free_port(), free_port()
    monkeypatch.setenv("TALLYSTICK_PROVIDERS", settings_of(provider_port, timeout_seconds=2.0))
    for name in ("PRIVATE", "HTTP"):
        monkeypatch.setenv(f"TALLYSTICK_WEBHOOK_ALLOW_{name}", "true")
    kept = tmp_path / "kept.ndjson"
    with receiving() as receiver, simulating(provider_port, f"http://127.0.0.1:{port}") as provider:
        with served(old, port, tmp_path) as client:
            open_books(client)
            hooked = client.post(
                "/v1/webhooks", json={"url": receiver.url, "ledgers": ["main"], "types": ["*"]}
            )
            assert hooked.status_code == 201, hooked.text
            repeat(client, *BEFORE_THE_BACKUP)
            early = save_checkpoint(client, old, machine.checkpoints)
            machine.run(BASE_BACKUP, old, as_postgres=True)
            repeat(client, *BEFORE_THE_MOMENT)
            moment = str(value(old, "SELECT clock_timestamp()"))
            repeat(client, *AFTER_IT)
            payout = pay_out(client, "rent")
            eventually(lambda: is_completed(client, payout))
            key = client.get(payout).json()["provider_key"]
            late = save_checkpoint(client, old, machine.checkpoints)
            truth = balances(client)
            eventually(lambda: late in receiver.positions())
        assert run("export", kept, database=Database(old.url)).exit_code == 0
        archive_all(old)
        assert codes(Database(old.url), backups.archive) == []
        old.stop()

        new = restored(machine, old, moment, tmp_path)
        try:
            end = value(new, "SELECT position FROM head")
            assert early < end < late
            seal_all(Database(new.url))
            assert set(everything(Database(new.url))) <= {"publisher_absent", "deliveries_late"}
            code, shown, found = verify(new, machine.checkpoints / str(early))
            assert (code, found) == (0, {}) and f"nothing up to position {early} was changed" in shown
            code, shown, found = verify(new, machine.checkpoints)
            assert code == 3 and found.keys() == {"events_missing"} and f"up to position {early}" in shown
            assert f"ends at position {end}," in found["events_missing"]
            assert f"at {end + 1} to {late} is missing" in found["events_missing"]

            with served(new, port, tmp_path) as client:
                open_books(client)
                repeat(client, *BEFORE_THE_BACKUP, *BEFORE_THE_MOMENT, *AFTER_IT)
                assert pay_out(client, "rent") == payout
                eventually(lambda: is_completed(client, payout))
                assert balances(client) == truth
                assert client.get(payout).json()["provider_key"] == key
                books = httpx2.get(f"{provider}/books", trust_env=False).json()["data"]
                assert [(paid["key"], paid["amount"]) for paid in books] == [(key, 100)]

                repeat(client, *LATER)
                assert save_checkpoint(client, new, tmp_path) >= late
                code, _, found = verify(new, machine.checkpoints)
                assert code == 3 and found.keys() == {"history_rewritten"}
                assert f"between positions {early + 1} and {late}" in found["history_rewritten"]
                assert f"line {end + 1}\n" in machine.run(COMPARING, new)
                eventually(lambda: "pending" not in states_of(client, hooked.json()["id"]))
            # Only ids after the end were told again for other events, as the page says that receivers must know.
            void = [id for id, bodies in told(receiver).items() if len(bodies) > 1]
            assert void and all(int(id.rpartition("/")[2]) > end for id in void)
        finally:
            new.stop()


def states_of(client: httpx2.Client, hook: str) -> set[str]:
    found = client.get(f"/v1/webhooks/{hook}/deliveries", params={"page_size": 1000}).json()["data"]
    return {"pending" if of["state"] == "sent" else of["state"] for of in found}


def told(receiver: Receiver) -> dict[str, set[bytes]]:
    """The bodies that came under each id."""
    found = defaultdict(set)
    for received in receiver.received:
        found[received.id].add(received.body)
    return found


def restored(machine: Machine, old: EmbeddedPostgres, moment: str, folder: Path) -> EmbeddedPostgres:
    """The database as it was at a moment, on another server."""
    new = EmbeddedPostgres(folder / "new")
    machine.run(COPYING, old, as_postgres=True)
    machine.set(new, "postgresql.auto.conf", RECOVERING.replace("2026-11-30 02:14:00+00", moment))
    new.start()
    eventually(lambda: value(new, "SELECT pg_is_in_recovery()") is False)
    return new
