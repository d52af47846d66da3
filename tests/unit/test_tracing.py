"""What is told of a trace: which requests, which batches; and that nothing is told or imported where traces are off."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from domain.commit.decider import Submission
from domain.commit.spans import by_trace
from domain.model.commands import Outcome
from domain.model.errors import AccountNotFound
from domain.model.events import Context, Envelope, Recorded
from domain.model.ledgers import LedgerOpened, OpenLedger
from domain.tracing import is_sampled
from projections.engine.batches import EventBatch
from projections.running.batch_spans import MAX_TRACES, sampled_traces
from scripts.serving.surroundings import of_process
from scripts.serving.telemetry import is_wanted

ROOT = Path(__file__).parents[2]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def traceparent(number: int, flags: str = "01") -> str:
    return f"00-{TRACE}-{number:016x}-{flags}"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (traceparent(1), True),
        (traceparent(1, "03"), True),
        (traceparent(1, "ff"), True),
        (f"01-{TRACE}-00f067aa0ba902b7-01-more", True),
        (traceparent(1, "00"), False),
        (traceparent(1, "02"), False),
        (traceparent(0), False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", False),
        ("t", False),
        ("", False),
        (None, False),
    ],
)
def test_the_flags_of_a_valid_context_say_whether_it_is_sampled(text: str | None, *, sampled: bool) -> None:
    assert is_sampled(text) == sampled


def opening(parent: str | None) -> OpenLedger:
    return OpenLedger(Context("alice", "conversation-1", parent), "main", {})


def test_a_request_is_told_once_however_many_commands_it_has() -> None:
    first, second = traceparent(1), traceparent(2)
    recorded = Outcome(None, recorded=True, replayed=False, position=7)
    later = recorded._replace(position=9)
    submissions = [
        Submission([opening(first), opening(second), opening(first)], print, asked_at_seconds=1.0),
        Submission([opening(traceparent(3, "00")), opening(None)], print, asked_at_seconds=2.0),
        Submission([opening(second)], print, asked_at_seconds=3.0),
    ]
    told = by_trace(submissions, [recorded, recorded, later, recorded, recorded, AccountNotFound()])
    assert list(told) == [first, second]
    assert (told[first].asked_at_seconds, told[first].commands, told[first].name) == (
        1.0,
        2,
        "commit OpenLedger",
    )
    assert told[first].attributes["tallystick.position"] == 9
    assert (told[second].asked_at_seconds, told[second].commands) == (1.0, 2)
    assert told[second].attributes["tallystick.outcome"] == "account_not_found"
    assert "tallystick.position" not in told[second].attributes


def event(position: int, parent: str | None) -> Recorded:
    envelope = Envelope("2026-01-01T00:00:00.000000Z", "alice", "c", "c", None, parent)
    return Recorded("main", position, position, envelope, LedgerOpened({}))


def row(position: int, parent: object) -> tuple[str, int, str, bytes, int]:
    return ("main", position, "topic", json.dumps({"traceparent": parent, "data": {}}).encode(), position)


def test_a_batch_is_told_once_in_each_of_the_first_sampled_traces() -> None:
    events = [
        event(1, None),
        event(2, traceparent(1, "00")),
        event(3, traceparent(1)),
        event(4, traceparent(1)),
    ]
    assert sampled_traces(EventBatch(0, 4, events)) == {traceparent(1): 4}
    many = [event(number, traceparent(number)) for number in range(1, 2 * MAX_TRACES)]
    assert len(sampled_traces(EventBatch(0, len(many), many))) == MAX_TRACES


def test_rows_of_the_journal_are_read_for_their_context() -> None:
    rows = [row(1, traceparent(1)), row(2, None), row(3, 5), ("main", 4, "topic", b"\xff", 4)]
    assert sampled_traces(EventBatch(0, 4, rows)) == {traceparent(1): 1}


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_the_variables_turn_traces_on(variables: dict[str, str], *, wanted: bool) -> None:
    assert is_wanted(variables) == wanted


@pytest.mark.parametrize("process", ["api", "projector", "publisher"])
def test_a_process_gets_the_variables_only_where_traces_are_on(process: str) -> None:
    given = {**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret", "PATH": "/bin"}
    assert of_process(process, given, is_embedded=True) == {"PATH": "/bin"}
    assert of_process(process, given, is_embedded=True, is_traced=True) == given


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=100
    )


SERVICE = """
import sys
sys.modules.update(dict.fromkeys({hidden}))
from api.app import create_app
from api.settings import Settings
from projections.outbox import jetstream, publisher
from projections.running import projector
from scripts.serving import processes, serve, telemetry
processes.configure_logging()
tracer = telemetry.start_tracer("api", {environment})
create_app(Settings(database_url="postgresql://127.0.0.1:1/none"), tracer)
assert tracer is None
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))))
"""


def test_where_traces_are_off_neither_sdk_nor_exporter_is_imported() -> None:
    """FastAPI imports OpenTelemetry's interfaces, which it depends on."""
    ran = run(SERVICE.format(hidden=[], environment={}))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize("hidden", ["opentelemetry.sdk", "opentelemetry.exporter"])
def test_variables_without_the_extra_are_said_in_one_line_of_the_log(hidden: str) -> None:
    ran = run(SERVICE.format(hidden=[hidden], environment=ENDPOINT))
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stderr.splitlines()
    said = json.loads(line)
    assert (said["level"], said["install"]) == ("warning", "pip install 'tallystick[telemetry]'")


def comparisons(path: Path) -> dict[str, int]:
    """How often each function of a module looks at a tracer."""
    found = {}
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            compared = [node.left for node in ast.walk(function) if isinstance(node, ast.Compare)]
            count = sum(ast.unparse(left).endswith("tracer") for left in compared)
            if count:
                found[function.name] = count
    return found


def test_where_traces_are_off_a_commit_costs_one_comparison_and_a_request_or_batch_none() -> None:
    """All else is decided when the parts are put together: layers and wrappers that are not there cost nothing."""
    commit = {path.name: comparisons(path) for path in (ROOT / "domain/commit").glob("*.py")}
    assert {name: of for name, of in commit.items() if of} == {"group_commit.py": {"_reply": 1}}
    for folder in (
        "api/http",
        "api/resources",
        "api/service",
        "projections/engine",
        "domain/journal",
        "domain/model",
    ):
        for path in (ROOT / folder).rglob("*.py"):
            assert "tracer" not in path.read_text(encoding="utf-8"), path
    assert comparisons(ROOT / "projections/running/projector.py") == {"run_projector": 1}
    assert set(comparisons(ROOT / "api/app.py")) == {"__init__", "_shared", "_stop"}
