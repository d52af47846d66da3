"""`tallystick tail`: every event once and in order, filtered, whatever happens to the connection meanwhile."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from scripts import endings
from scripts.tallystick import application
from tests.commands import invoke
from tests.ledgers import open_accounts, running, transfer
from tests.projecting import eventually
from tests.service import ROOT

pytestmark = pytest.mark.integration


def fill(database: Database) -> None:
    """Write two ledgers. No projection runs."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        open_accounts(ledger, "a", "b", book="other")
        assert ledger.perform(transfer("a", "b", 1, key="k")).recorded


def printed(database: Database, *options: str) -> list[str]:
    """The lines printed about what is in the journal already."""
    of_database = ["--database-url", database.url, "--schema", database.schema]
    done = invoke(application(["tail"]), ["tail", "--after", "0", "--no-follow", *options, *of_database])
    assert done.exit_code == endings.DONE
    return done.stdout.splitlines()


@pytest.mark.prepared(by=fill)
def test_it_prints_all_events_in_order_in_chunks_too(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.read_models.event_history.CHUNK_EVENTS", 2)
    ((head,),) = owner.execute("SELECT position FROM head").fetchall()
    events = [json.loads(line) for line in printed(database, "--json")]
    assert [event["position"] for event in events] == list(range(1, head + 1))
    lines = printed(database)
    assert [int(line.split()[0]) for line in lines] == list(range(1, head + 1))
    assert "transaction.posted" in lines[-1] and "by tester" in lines[-1] and "key k" in lines[-1]


@pytest.mark.prepared(by=fill)
def test_filters_leave_what_they_name(database: Database) -> None:
    def of(*options: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in printed(database, "--json", *options)]

    assert {event["ledger"] for event in of()} == {"main", "other"}
    assert {event["ledger"] for event in of("--ledger", "other")} == {"other"}
    assert {event["type"] for event in of("--type", "account.opened")} == {"account.opened"}
    assert len(of("--type", "account.opened", "--ledger", "main")) == 2
    of_a = of("--ledger", "main", "--account", "a")
    assert {event["type"] for event in of_a} >= {"account.opened", "transaction.posted"}
    assert "main/accounts/b" not in {event["stream"] for event in of_a}
    assert [event["position"] for event in of("--after", "3")] == [event["position"] for event in of()][3:]


@contextmanager
def following(database: Database, *options: str) -> Iterator[tuple["subprocess.Popen[str]", Sequence[str]]]:
    """The command in a process, and the lines that it has printed."""
    of_database = ["--database-url", database.url, "--schema", database.schema]
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.tallystick", "tail", *options, *of_database],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        lines: list[str] = []
        assert process.stdout is not None
        reading = threading.Thread(target=lines.extend, args=(process.stdout,))
        reading.start()
        try:
            yield process, lines
        finally:
            if process.poll() is None:
                process.kill()
            reading.join()


@pytest.mark.prepared(by=fill)
def test_it_goes_on_after_a_lost_connection_without_a_gap(database: Database, owner: Connection[Any]) -> None:
    sessions = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = ANY(%s)"
    names = (["tallystick tail"],)

    with following(database, "--json", "--after", "0") as (process, lines), running(database) as ledger:

        def is_connected() -> bool:
            assert process.poll() is None, process.stderr and process.stderr.read()
            return len(owner.execute(f"SELECT pid {sessions}".encode(), names).fetchall()) == 1

        eventually(lambda: bool(lines))  # a connection that is lost at the start ends it
        for number in range(3):
            eventually(is_connected)
            assert ledger.perform(transfer("a", "b", 1, key=f"before {number}")).recorded
            owner.execute(f"SELECT pg_terminate_backend(pid, 5000) {sessions}".encode(), names)
            assert ledger.perform(transfer("a", "b", 1, key=f"after {number}")).recorded
        ((head,),) = owner.execute("SELECT position FROM head").fetchall()
        eventually(lambda: len(lines) >= head)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == endings.INTERRUPTED
        assert process.stderr is not None and "Traceback" not in process.stderr.read()
    assert [json.loads(line)["position"] for line in lines] == list(range(1, head + 1))
