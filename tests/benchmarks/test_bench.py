"""The benchmark runs, measures everything it claims to, and leaves nothing behind. No figure decides a test."""

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import psycopg
import pytest

from domain.journal.database import Database
from scripts.bench.report.comparisons import (
    CONCURRENCY,
    CONSOLE,
    CONTENTION,
    GROWTH,
    PROJECTORS,
    PUBLISHED,
    STANDARD,
    WORKERS,
    ContestantComparison,
    names_of,
)
from scripts.bench.report.earlier import FORM
from scripts.bench.report.figures import BenchFailed
from scripts.bench.report.limits import LIMITS
from scripts.bench.workloads.load import UnexpectedAnswer, answer_size, percentiles, run_load
from scripts.bench.workloads.requests import Kind, Plan, requests

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 500
COMMAND = [sys.executable, "-m", "scripts.tallystick", "bench", "--quick"]


MAY_BE_UNKNOWN = {("http", "journal_bytes")}
THAT_WRITE = {
    *("in-process", "http", "following", "published", "published-http", "contention", "concurrency"),
}
"""The stages that say how much disk space a transaction takes."""


@pytest.fixture
def bench_url(empty_database: Database) -> str:
    """A separate database, because a killed benchmark leaves its schemas behind."""
    return empty_database.url


@pytest.mark.integration
@pytest.mark.long
@pytest.mark.timeout(PATIENCE_SECONDS + 10)
@pytest.mark.parametrize(
    ("options", "comparisons"),
    [
        ([], STANDARD),
        (["--published"], PUBLISHED),
        (["--contention"], CONTENTION),
        (["--projectors"], PROJECTORS),
        (["--workers"], WORKERS),
        (["--growth", "--plot", "plot.svg"], CONCURRENCY + GROWTH),
        (["--console"], CONSOLE),
    ],
    ids=["standard", "published", "contention", "projectors", "workers", "growth and plot", "console"],
)
def test_every_workload_and_yardstick_is_measured_and_the_books_balance(
    bench_url: str, tmp_path: Path, options: list[str], comparisons: tuple[ContestantComparison, ...]
) -> None:
    file = tmp_path / "bench.json"
    done = subprocess.run(
        [*COMMAND, *options, "--json", str(file), "--database-url", bench_url],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(file.read_text())
    names = names_of(comparisons)
    assert report["figures"].keys() == names
    for figures in report["figures"].values():
        assert len(figures["rounds"]) == report["size"]["rounds"]
        assert all(reading["units"] > 0 and reading["seconds"] > 0 for reading in figures["rounds"])
    assert len(report["comparisons"]) == len(comparisons)
    assert all(comparison["value"] > 0 for comparison in report["comparisons"])
    # The system counts processor time in hundredths of a second, of which a quick run may take none.
    # It may also be over between two looks at the lag.
    nothing = {limit["detail"] for limit in report["limits"] if limit["value"] <= 0}
    assert {detail for detail in nothing if "processor" not in detail and "lag" not in detail} == set()
    # A quick run may be too short to say how many bytes a transaction takes.
    assert {(limit["workload"], limit["detail"]) for limit in report["limits"]} | MAY_BE_UNKNOWN == {
        (limit.workload, limit.detail) for limit in LIMITS if limit.workload in names
    } | MAY_BE_UNKNOWN
    assert all(costs_of(figures).keys() >= {"api", "client"} for figures in over_http(report).values())
    assert report["space"].keys() == {comparison.stage for comparison in comparisons} & THAT_WRITE
    assert all(space["bytes_added"]["stored_events"] > 0 for space in report["space"].values())
    assert report["books"].keys() == {comparison.stage for comparison in comparisons}
    for books in report["books"].values():
        assert books["debits"] == books["credits"] > 0
        assert books["recorded"] == books["acknowledged"] > 0
        assert books["pending"] == 0
    assert report["database"]["fsync"] in ("on", "off")
    assert [milestone["events"] > 0 for milestone in report["growth"]] == [True, True] * ("growth" in names)
    assert (tmp_path / "plot.svg").exists() == ("--plot" in options)
    assert left_behind(bench_url) == []


def over_http(report: dict[str, Any]) -> dict[str, Any]:
    """The figures of the workloads that the service was asked for over HTTP by the load."""
    return {
        name: figures
        for name, figures in report["figures"].items()
        if "catch_up_seconds" in figures["rounds"][0]
    }


def costs_of(figures: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = figures["processor_microseconds"]
    return found


EARLIER: dict[str, Any] = {
    "report": "tallystick bench",
    "form": FORM,
    "started_at": "2026-11-30T08:00:00+00:00",
    "machine": {"cores": 1_000_000},
    "versions": {},
    "database": {},
    "size": {},
    "rows": [
        {
            "name": "one-caller",
            "measure": "transfers/s",
            "rounds": 1,
            "found": {"median": 0.001, "lowest": 0.001, "highest": 0.001},
        }
    ],
    "comparisons": [],
    "figures": {},
}
"""A report that no run of today equals."""


@pytest.mark.integration
def test_a_run_is_compared_with_an_earlier_report(bench_url: str, tmp_path: Path) -> None:
    file = tmp_path / "earlier.json"
    file.write_text(json.dumps(EARLIER))
    options = ["--only", "one-caller", "--compare", str(file), "--database-url", bench_url]
    done = subprocess.run([*COMMAND, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = (line for line in done.stdout.splitlines() if "0.001 (0.001–0.001)" in line)
    assert row.split()[:2] == ["one-caller", "transfers/s"] and row.split()[-1] == "unknown"
    assert "machine, cores: 1000000 then" in done.stdout


def test_a_file_that_is_no_report_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    for content, why in (("{}", "is no report"), (json.dumps({**EARLIER, "form": 1}), "of form 1")):
        file = tmp_path / "earlier.json"
        file.write_text(content)
        command = [*COMMAND, "--compare", str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2
        said = " ".join(done.stderr.replace("│", "").split())
        assert "earlier.json" in said.replace(" ", "") and why in said


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A signal handling that lets children be interrupted, even when a shell runs the tests in the background and
    ignores SIGINT.
    """
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.integration
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_what_it_started(bench_url: str, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "--only", "http", "--database-url", bench_url],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        children = servers_of(process.pid)
        process.send_signal(number)
        assert process.wait(40) != 0
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert left_behind(bench_url) == []


@pytest.mark.integration
def test_nothing_outlives_a_killed_run(bench_url: str) -> None:
    """The killed run's schemas stay, because nobody was left to drop them. Its processes do not."""
    with subprocess.Popen(
        [*COMMAND, "--only", "http", "--database-url", bench_url],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        children = servers_of(process.pid)
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def servers_of(bench: int) -> list[psutil.Process]:
    """All processes below a benchmark's, once they include both servers and the service's two processes."""
    deadline = monotonic() + 60
    while monotonic() < deadline:
        children = psutil.Process(bench).children(recursive=True)
        if len(children) >= 4:
            return children
        sleep(0.05)
    raise AssertionError("the servers did not start")


def left_behind(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'bench\\_%'"
        return [name for (name,) in connection.execute(query)]


def test_an_unknown_workload_is_refused() -> None:
    done = subprocess.run([*COMMAND, "--only", "sleeping"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no workload sleeping" in done.stderr


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    for option in ("--json", "--plot"):
        command = [*COMMAND, option, str(tmp_path / "nowhere" / "file")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2
        assert "there is no folder" in done.stderr


def test_a_database_out_of_reach_is_said() -> None:
    done = subprocess.run(
        [*COMMAND, "--database-url", "postgresql://127.0.0.1:1/none"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


@contextmanager
def server_that_answers(answer: bytes) -> Iterator[int]:
    """The port of a minimal HTTP server that answers every request the same way."""

    class Answering(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65536):
                self.request.sendall(answer)
                if not answer:
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def plan(port: int) -> Plan:
    return Plan(port=port, key="tk_none", connections=3, requests=20, accounts=10, seed=1)


def test_the_load_counts_answers_and_takes_their_times() -> None:
    with server_that_answers(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}") as port:
        reading = run_load(plan(port))
    assert reading.units == 20
    assert reading.seconds > 0
    assert 0 < reading.details["p50_milliseconds"] <= reading.details["p100_milliseconds"]


def test_what_a_transfer_takes_is_sent_on_one_connection_one_request_after_the_other() -> None:
    two_phase = plan(0)._replace(shape="two-phase", requests=50)
    sent = list(islice(requests(two_phase), two_phase.requests))
    with server_that_answers(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}") as port:
        reading = run_load(two_phase._replace(port=port))
    assert reading.units == sum(map(len, sent)) > two_phase.requests


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 409 Conflict\r\ncontent-length: 8\r\n\r\nrejected", "409 Conflict"),
        (b"HTTP/1.1 201 Created\r\n\r\n", "201 Created"),
        (b"", "closed a connection"),
    ],
)
def test_a_wrong_answer_fails_the_run(answer: bytes, said: str) -> None:
    with server_that_answers(answer) as port, pytest.raises(BenchFailed, match=said):
        run_load(plan(port))


@pytest.mark.parametrize(("kind", "item"), [("batch", b'"status":201,'), ("statement", b'"transaction_id":')])
def test_every_item_of_an_answer_must_be_as_wanted(kind: Kind, item: bytes) -> None:
    several = plan(0)._replace(kind=kind, size=3)
    for found, wanted in ((3, True), (2, False)):
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(item) * found, item * found)
        with server_that_answers(answer) as port:
            if wanted:
                assert run_load(several._replace(port=port)).units == 20 * several.units
            else:
                with pytest.raises(BenchFailed, match="not every item"):
                    run_load(several._replace(port=port))


def test_a_server_out_of_reach_fails_the_run() -> None:
    with pytest.raises(BenchFailed):
        run_load(plan(1))


def test_an_answer_in_parts_is_not_complete_before_its_end() -> None:
    answer = b"HTTP/1.1 201 Created\r\nserver: x\r\ncontent-length: 5\r\ndate: y\r\n\r\n12345"
    head = len(answer) - 5
    assert all(answer_size(answer[:end], b"201") is None for end in range(head))
    assert answer_size(answer[:head], b"201") == answer_size(answer, b"201") == len(answer)
    with pytest.raises(UnexpectedAnswer):
        answer_size(answer, b"200")


def test_percentiles() -> None:
    found = percentiles([number / 1000 for number in range(101)])
    assert [round(value) for value in found.values()] == [50, 95, 99, 100]
