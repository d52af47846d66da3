"""`tallystick serve` as an operator runs it: started, stopped, killed, misconfigured."""

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic, sleep

import httpx2
import psutil
import pytest

from domain.journal.database import Database
from tests.service import ROOT, post_account, post_ledger, serving, start, transfer_body

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def tallystick(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scripts.tallystick", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_stops_in_order_and_keeps_everything(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as service:
        children = service.processes("")
        with service.client() as client:
            post_ledger(client)
            post_account(client, "a")
        assert service.stop() == 0
        assert not psutil.wait_procs(children, timeout=30)[1]
    with serving(tmp_path / "data") as service, service.client() as client:
        assert client.get("/v1/ledgers/main/accounts/a").status_code == 200


def test_the_key_is_shown_before_anything_that_may_fail_is_started(database: Database) -> None:
    command = [
        sys.executable,
        "-m",
        "scripts.tallystick",
        "serve",
        "--port",
        "0",
        "--schema",
        database.schema,
    ]
    process = subprocess.Popen(
        [*command, "--database-url", database.url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        before = ""
        for line in process.stdout:
            before += line
            if '"event": "started"' in line:
                break
        assert "shown this once: tk_" in before
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_requests_in_flight_are_finished_before_it_stops(tmp_path: Path, workers: str) -> None:
    with serving(tmp_path / "data", "--workers", workers) as service:
        with service.client() as client:
            post_ledger(client)
            post_account(client, "a")
            post_account(client, "b")
        acknowledged: list[str] = []
        cut: list[str] = []

        def keep_posting(number: int) -> None:
            with service.client() as client:
                for count in range(100_000):
                    key = f"{number}-{count}"
                    try:
                        answer = client.post(
                            "/v1/ledgers/main/transactions",
                            json=transfer_body("a", "b", 1),
                            headers={"Idempotency-Key": key},
                        )
                    except httpx2.ConnectError:
                        return  # it accepts no more connections
                    except httpx2.TransportError:
                        cut.append(key)  # an idle connection, closed while the request was being sent
                        return
                    if answer.status_code != 201:
                        assert answer.status_code == 503, answer.text
                        return
                    acknowledged.append(key)

        threads = [threading.Thread(target=keep_posting, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 50:
            sleep(0.01)
        assert service.stop() == 0
        for thread in threads:
            thread.join(30)
    with serving(tmp_path / "data") as service, service.client() as client:
        balance = client.get("/v1/ledgers/main/accounts/b").json()["balance"]
        assert len(acknowledged) <= balance <= len(acknowledged) + len(cut)
        for key in acknowledged:
            assert client.get(f"/v1/ledgers/main/operations/{key}").json()["state"] == "completed"


def test_killed_it_leaves_no_process_and_starts_at_once(tmp_path: Path) -> None:
    first = start(tmp_path / "data")
    port = first.url.rpartition(":")[2]
    children = first.processes("")
    with first.client() as client:
        post_ledger(client)
    psutil.Process(first.process.pid).kill()
    first.stop()
    with serving(tmp_path / "data", "--port", port) as service, service.client() as client:
        assert client.get("/v1/ledgers/main").status_code == 200
    assert not psutil.wait_procs(children, timeout=30)[1]


def test_the_first_start_makes_a_key_and_shows_it_once(tmp_path: Path) -> None:
    service = start(tmp_path / "data", key=None)
    output = "".join(service.output)
    (key,) = set(re.findall(r"tk_[A-Za-z0-9_-]{43}", output))
    curl = next(line for line in output.splitlines() if line.startswith("curl "))
    assert service.url in curl and key in curl
    opened = httpx2.post(
        f"{service.url}/v1/ledgers",
        json={"name": "main"},
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
    )
    assert opened.status_code == 201
    assert service.stop() == 0
    service = start(tmp_path / "data", key=None)
    assert "tk_" not in "".join(service.output)
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("BOOTSTRAP_KEY", "too-short"),
        ("SCHEMA", "no; schema"),
        ("PROVIDERS", "whsec_no_json"),
        ("PROVIDERS", '{"simulator": {"url": "http://127.0.0.1:1", "secret": "whsec_too_short"}}'),
        ("PROVIDERS", '{"No One": {}}'),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path, name: str, value: str) -> None:
    ran = tallystick("serve", "--data-dir", str(tmp_path / "data"), **{f"TALLYSTICK_{name}": value})
    assert ran.returncode == 2
    assert f"TALLYSTICK_{name}" in ran.stderr and value not in ran.stderr
    assert not (tmp_path / "data").exists()


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = tallystick("serve", "--data-dir", str(tmp_path / "data"), "--port", port)
    assert ran.returncode == 3 and f"cannot listen on 127.0.0.1:{port}" in ran.stderr


def test_a_database_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    began = monotonic()
    ran = tallystick("serve", "--port", "0", "--database-url", f"postgresql://nobody@/none?host={tmp_path}")
    assert ran.returncode == 3 and "the database is out of reach" in ran.stderr
    assert monotonic() - began < 30


def test_two_services_start_at_once_on_one_empty_database(tmp_path: Path, empty_database: Database) -> None:
    options = ("--database-url", empty_database.url, "--schema", empty_database.schema)
    services = []
    threads = [
        threading.Thread(target=lambda n=n: services.append(start(tmp_path / str(n), *options)))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    one, other = services
    try:
        with one.client() as first, other.client() as second:
            post_ledger(first)
            post_ledger(second)
            post_account(first, "a")
            post_account(second, "b")
            answer = httpx2.Response(500)
            for client, key in ((first, "k1"), (second, "k2"), (first, "k2")):
                answer = client.post(
                    "/v1/ledgers/main/transactions",
                    json=transfer_body("a", "b", 1),
                    headers={"Idempotency-Key": key},
                )
                assert answer.status_code == 201
            assert answer.headers["Idempotent-Replayed"] == "true"
            assert first.get("/v1/ledgers/main/accounts/b").json()["balance"] == 2
    finally:
        assert [one.stop(), other.stop()] == [0, 0]
