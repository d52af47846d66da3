"""How `tallystick mcp` begins and ends: without a service, without its library, at the end of its input, by signals."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from scripts import endings
from scripts.tallystick import application
from tests.contract.books import Book, transfer_body
from tests.contract.mcp.assistants import COMMAND, connected
from tests.contract.serving import KEY, Served, listening
from tests.service import ROOT

WAIT_SECONDS = 60
NOBODY = "http://127.0.0.1:1"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}


@contextmanager
def started(url: str, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """The command, with its three streams in pipes."""
    pipe = subprocess.PIPE
    command = [*COMMAND, "--url", url, "--key", KEY, *options]
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def send(process: "subprocess.Popen[str]", *messages: object) -> None:
    assert process.stdin
    for message in messages:
        process.stdin.write(message if isinstance(message, str) else json.dumps(message) + "\n")
    process.stdin.flush()


def answered(process: "subprocess.Popen[str]") -> dict[str, object]:
    assert process.stdout
    said: dict[str, object] = json.loads(process.stdout.readline())
    return said


def test_without_a_service_every_call_says_so(book: Book) -> None:
    with connected(NOBODY, "--allow-writes", "--timeout-seconds", "1") as assistant:
        assert len(assistant.tools()) > 60
        for name, arguments in (
            ("list_stuck", {}),
            ("open_ledger", {"body": {"name": "main"}}),
            ("post_batch", {"ledger": "main", "body": {}}),
        ):
            answer = assistant.answer(name, **arguments)
            assert answer.is_error and answer.structured_content["outcome"] == "not_sent"
            assert f"{NOBODY} cannot be reached" in answer.structured_content["said"]
        keyed = {"ledger": "main", "idempotency_key": "k", "body": transfer_body()}
        assert assistant.call("post_transaction", **keyed)["outcome"] == "unknown"
        assert assistant.call("post_transaction", **keyed, dry_run=True)["outcome"] == "unanswered"


def test_something_else_that_answers_is_not_taken_for_the_ledger(served: Served) -> None:
    with connected(f"{served.url}/console", "--allow-writes", "--timeout-seconds", "1") as assistant:
        told = assistant.call("get_ledger", ledger="main")
        assert told["outcome"] == "problem"
        keyed = {"ledger": "main", "idempotency_key": "k", "body": transfer_body()}
        assert assistant.call("post_transaction", **keyed)["outcome"] in ("problem", "unknown")


@pytest.mark.parametrize("ended_by", ["end of input", signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_also_while_a_call_is_under_way(ended_by: str | signal.Signals) -> None:
    with listening() as silent:
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with started(url, "--timeout-seconds", "600") as process:
            send(process, INITIALIZE)
            assert answered(process)["id"] == 1
            # It opens no port.
            assert psutil.Process(process.pid).net_connections() == []
            arguments = {"name": "list_stuck", "arguments": {}}
            send(
                process,
                {"jsonrpc": "2.0", "method": "notifications/initialized"},
                {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": arguments},
            )
            called, _ = silent.accept()
            with called:
                assert called.recv(4) == b"GET "
                if isinstance(ended_by, signal.Signals):
                    process.send_signal(ended_by)
                else:
                    assert process.stdin
                    process.stdin.close()
                assert process.wait(WAIT_SECONDS) == endings.DONE
            assert process.stderr and process.stderr.read() == ""


def test_what_is_no_message_is_passed_over() -> None:
    with started(NOBODY) as process:
        send(
            process,
            "no json\n",
            "{}\n",
            "[]\n",
            '{"jsonrpc": "2.0", "id": "\\ud800", "method": "x"}\n',
            INITIALIZE,
        )
        while answered(process).get("id") != 1:
            pass
        deep = (
            '{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": '
            + '{"a":' * 5000
            + "1"
            + "}" * 5000
        )
        send(process, deep + "}\n", {"jsonrpc": "2.0", "id": 3, "method": "ping"})
        while answered(process).get("id") != 3:
            pass
        assert process.stdin
        process.stdin.close()
        assert process.wait(WAIT_SECONDS) == endings.DONE


def test_a_reader_that_stops_reading() -> None:
    with started(NOBODY) as process:
        send(process, INITIALIZE)
        assert answered(process)["id"] == 1
        assert process.stdout
        process.stdout.close()
        send(process, *[{"jsonrpc": "2.0", "id": 2, "method": "ping"}] * 2)
        assert process.wait(WAIT_SECONDS) == endings.UNREAD
        assert process.stderr and process.stderr.read() == ""


def test_without_its_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "api.mcp.server", None)
    assert endings.run(lambda: application(["mcp"]), ["mcp", "--key", "tk_key"]) == endings.ERRORS
    assert "pip install -e '.[mcp]'" in capfd.readouterr().err
