"""How commands end: each one, whatever fails, with the right exit code, one sentence and no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from psycopg import Connection

from domain.journal.database import Database
from domain.model.idempotency import operation_id
from scripts import endings, tallystick
from scripts.tallystick import COMMANDS
from tests import commands
from tests.ledgers import open_accounts, running, transfer
from tests.projecting import await_head, eventually, projecting

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent.parent
NOBODY = str(UUID(int=1))
NOWHERE = "postgresql://127.0.0.1:1/none"

ON_A_DATABASE: list[tuple[str, ...]] = [
    ("replay", "entries"),
    ("replay", "run", "entries"),
    ("replay", "accept", "entries", "--reason", "x"),
    ("replay", "restart", "entries"),
    ("replay", "pause", "entries"),
    ("replay", "resume", "entries"),
    ("replay", "cancel", "entries"),
    ("replay", "drop-retired", "entries"),
    ("replay", "entries", "--pause"),
    ("replay", "entries", "--drop-retired"),
    ("projections", "list"),
    ("projections", "pause", "entries"),
    ("projections", "resume", "entries"),
    ("projections", "restart", "entries"),
    ("dead-letters", "list"),
    ("dead-letters", "show", NOBODY),
    ("dead-letters", "retry", NOBODY),
    ("dead-letters", "retry-all"),
    ("dead-letters", "discard", NOBODY, "--reason", "x"),
    ("payouts", "list"),
    ("payouts", "show", NOBODY),
    ("payouts", "reconcile", NOBODY),
    ("payouts", "complete", NOBODY, "--reason", "x"),
    ("payouts", "fail", NOBODY, "--reason", "x"),
    ("webhooks", "list"),
    ("webhooks", "show", NOBODY),
    ("webhooks", "deliveries", NOBODY),
    ("webhooks", "retry", NOBODY, "1"),
    ("webhooks", "discard", NOBODY, "1", "--reason", "x"),
    ("webhooks", "enable", NOBODY),
    ("webhooks", "disable", NOBODY, "--reason", "x"),
    ("witnesses", "list"),
    ("witnesses", "show", "west"),
    ("witnesses", "leave", "west"),
    ("witnesses", "keep", "west", "--reason", "x"),
    ("witnesses", "accept", "west", "--reason", "x"),
    ("export", "-", "--wait-seconds", "0"),
    ("export", "-", "--format", "hledger"),
    ("verify", "--live"),
    ("prove", "--position", "1"),
    ("report", "trial-balance", "--ledger", "main"),
    ("trace", "k"),
    ("stuck",),
    ("tail", "--after", "0", "--json"),
    ("keys", "list"),
    ("keys", "rotate", NOBODY),
    ("keys", "revoke", NOBODY),
    ("doctor",),
]
WITHOUT_A_DATABASE = {"demo", "openapi", "mcp"}
NAMING_WHAT_IS_NOT: list[tuple[str, ...]] = [
    ("projections", "pause", "nothing"),
    ("projections", "resume", "nothing"),
    ("projections", "restart", "nothing"),
    ("replay", "pause", "entries"),
    ("replay", "resume", "entries"),
    ("replay", "entries", "--pause"),
    ("replay", "entries", "--resume"),
    *(arguments for arguments in ON_A_DATABASE if NOBODY in arguments),
    ("payouts", "list", "--ledger", "nowhere"),
    ("trace", "no-such-key"),
    ("trace", "k", "--ledger", "nowhere"),
    ("export", "-", "--format", "beancount", "--ledger", "nowhere"),
    ("export", "-", "--to", "999", "--wait-seconds", "0"),
    ("report", "trial-balance", "--ledger", "nowhere"),
    ("report", "statement", "--ledger", "main", "--account", "nobody"),
    ("report", "activity", "--ledger", "nowhere", "--format", "csv"),
    ("verify", "/no/such/file"),
    ("verify", "/tmp"),
    ("verify", "--live", "--checkpoint", "/no/such/file"),
    ("import", "/no/such/file"),
    ("prove", "--position", "999999"),
    ("demo", "--key", "tk_key", "--url", "http://127.0.0.1:1"),
    ("tail", "--ledger", "nowhere"),
    ("tail", "--ledger", "main", "--account", "nobody"),
    ("export", "/no/such/folder/file", "--wait-seconds", "0"),
]
WRONG: list[tuple[str, ...]] = [
    ("nothing",),
    ("--nothing",),
    ("projections", "nothing"),
    ("replay",),
    ("replay", "nothing"),
    ("replay", "entries", "--discard"),
    ("replay", "run"),
    ("replay", "run", "nothing"),
    ("replay", "run", "entries", "--pause"),
    ("replay", "accept", "entries"),
    ("replay", "accept", "entries", "--reason", " "),
    ("replay", "pause", "entries", "--all"),
    ("replay", "cancel", "entries", "--reason", "x" * 501),
    ("replay", "drop-retired"),
    ("dead-letters", "show", "x"),
    ("keys", "rotate", "x"),
    ("payouts", "show", "x"),
    ("webhooks", "show", "x"),
    ("dead-letters", "discard", NOBODY),
    ("payouts", "fail", NOBODY),
    ("payouts", "fail", NOBODY, "--reason", "x", "--confirm", "paid"),
    ("webhooks", "retry", NOBODY),
    ("export", "--format", "xml"),
    ("verify",),
    ("import",),
    ("report", "trial-balance"),
    ("report", "nothing", "--ledger", "main"),
    ("report", "trial-balance", "--ledger", "main", "--from", "yesterday"),
    ("trace",),
    ("stuck", "--payout-seconds", "-1"),
    ("witnesses", "keep", "west"),
    ("place", "main"),
    ("keys", "make"),
    ("keys", "make", "x", "--role", "king"),
    ("doctor", "--timeout-seconds", "0"),
    ("simulate-provider", "--port", "70000"),
    ("bench", "--only", "nothing"),
    ("openapi", "--yaml"),
    ("tail", "--type", "nothing"),
    ("tail", "--account", "a"),
    ("listen", "--secret", "x y"),
    ("listen", "--replay", "/no/such/file", "--to", "http://127.0.0.1:1/"),
    ("listen", "--to", "http://127.0.0.1:1/"),
    ("listen", "--replay", "/dev/null", "--to", "http://example.com/"),
    ("demo",),
    ("demo", "--key", "tk_…"),
    ("demo", "--key", "tk_key", "--url", "127.0.0.1:8000"),
    ("mcp",),
    ("mcp", "--key", "tk_…"),
    ("mcp", "--key", "tk_key", "--url", "127.0.0.1:8000"),
    ("mcp", "--key", "tk_key", "--timeout-seconds", "0"),
    ("serve", "--port", "x"),
    ("project", "--database-url", "no url"),
]


def fill(database: Database) -> None:
    """Write a short journal and bring its projections to the head. No service runs."""
    with running(database) as ledger, projecting(database), database.connect("test") as connection:
        open_accounts(ledger, "a", "b")
        await_head(connection)


def call(arguments: tuple[str, ...], url: str, schema: str = "tallystick") -> int:
    """Run a command line on a database, as `tallystick` does."""
    options = [] if "--database-url" in arguments else ["--database-url", url, "--schema", schema]
    return commands.call([*arguments, *(options if takes_a_database(arguments) else [])])


def takes_a_database(arguments: tuple[str, ...]) -> bool:
    others = {"serve", "bench", "simulate-provider", "listen", "project", *WITHOUT_A_DATABASE}
    return arguments[0] in COMMANDS and arguments[0] not in others


def is_a_sentence(words: str) -> bool:
    lines = words.splitlines()
    return bool(lines) and len(lines) <= 3 and "Traceback" not in words


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.journal.database.CONNECT_TIMEOUT_SECONDS", 2)


def test_every_command_is_tried() -> None:
    tried = {arguments[0] for arguments in ON_A_DATABASE} | {"import", "migrate", "place", "verify-proof"}
    assert tried | commands.SETTING_UP_A_PROCESS | WITHOUT_A_DATABASE == COMMANDS.keys()


@pytest.mark.parametrize("arguments", ON_A_DATABASE, ids=" ".join)
def test_a_database_that_is_away(arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    assert call(arguments, NOWHERE) == 3
    output, errors = capfd.readouterr()
    assert "Traceback" not in errors
    assert "database_unreachable" in output if arguments == ("doctor",) else is_a_sentence(errors), errors


@pytest.mark.parametrize("arguments", ON_A_DATABASE, ids=" ".join)
def test_a_database_that_was_not_migrated(
    empty_database: Database, arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(arguments, *empty_database) == 3
    output, errors = capfd.readouterr()
    assert "Traceback" not in errors
    assert "tallystick migrate" in output + errors


@pytest.mark.parametrize("arguments", NAMING_WHAT_IS_NOT, ids=" ".join)
@pytest.mark.prepared(by=fill)
def test_what_is_named_and_is_not_there(
    database: Database, arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(arguments, *database) == 3
    output, errors = capfd.readouterr()
    assert output == "" and is_a_sentence(errors), errors


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_what_is_called_wrongly(arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    assert call(arguments, NOWHERE) == 2
    output, errors = capfd.readouterr()
    assert output == "" and errors and "Traceback" not in errors


@pytest.mark.parametrize(
    "other",
    [
        "{" + NOBODY + "}",
        f"urn:uuid:{NOBODY}",
        NOBODY.replace("-", ""),
        NOBODY.replace("-", "", 1),
        f" {NOBODY}",
        f"{NOBODY}\n",
        NOBODY[:-1] + "١",
    ],
)
@pytest.mark.parametrize(
    "arguments", [arguments for arguments in ON_A_DATABASE if NOBODY in arguments], ids=" ".join
)
def test_ids_are_read_as_the_api_reads_them(
    arguments: tuple[str, ...], other: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(tuple(other if each == NOBODY else each for each in arguments), NOWHERE) == 2
    output, errors = capfd.readouterr()
    assert output == "" and "Traceback" not in errors
    assert "Invalid value for 'ID'" in errors and "is no id such as" in " ".join(errors.split())
    # In capitals it is the id.
    assert call(tuple(each.upper() if each == NOBODY else each for each in arguments), NOWHERE) == 3


@pytest.mark.prepared(by=fill)
def test_a_trace_is_found_by_an_id_in_the_one_form(
    database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(database) as ledger:
        assert ledger.perform(transfer("a", "b", 1, key="k")).recorded
    id = operation_id("main", "k")
    for form in (id, id.upper()):
        assert call(("trace", form, "--json"), *database) == 0
    for other in ("{" + id + "}", f"urn:uuid:{id}", id.replace("-", "")):
        assert call(("trace", other), *database) == 3
        assert "nothing is recorded of" in capfd.readouterr().err


@pytest.mark.prepared(by=fill)
def test_what_is_done_ends_with_0_and_what_is_found_with_1(
    database: Database, owner: Connection[object], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(("stuck",), *database) == 0
    assert call(("keys", "make", "shop", "--role", "client", "--ledger", "main"), *database) == 0
    with projecting(database):
        await_head(owner)
    assert call(("doctor", "--json"), *database) == 0
    assert call(("projections", "pause", "entries"), *database) == 0
    assert call(("doctor",), *database) == 1
    owner.execute("UPDATE projection_versions SET position = 1, state = 'paused' WHERE name = 'entries'")
    assert call(("stuck", "--projection-seconds", "0"), *database) == 1
    # No projector advances the resumed projection.
    assert call(("projections", "resume", "entries"), *database) == 1
    assert "nobody advances entries" in capfd.readouterr().err
    assert call(("replay", "--all"), *database) == 0
    assert call(("stuck", "--projection-seconds", "0"), *database) == 0
    assert call(("export", str(tmp_path / "books")), *database) == 0
    assert call(("verify", str(tmp_path / "books")), NOWHERE) in (0, 1)
    owner.execute("UPDATE balances_v2 SET posted_debits = 7")
    assert call(("doctor",), *database) == 3


@pytest.mark.prepared(by=fill)
def test_a_replay_without_a_projector_reaches_the_head(
    database: Database, owner: Connection[object], capfd: pytest.CaptureFixture[str]
) -> None:
    owner.execute("UPDATE projection_versions SET position = 0")
    for table in ("ledgers_v1", "balances_v1"):
        owner.execute(f"TRUNCATE {table}".encode())
    assert call(("replay", "ledgers", "balances"), *database) == 0
    positions = owner.execute(
        "SELECT v.position = head.position FROM projection_versions AS v CROSS JOIN head"
        " WHERE v.live AND v.name IN ('ledgers', 'balances')"
    ).fetchall()
    assert positions == [(True,), (True,)]
    words = " ".join(capfd.readouterr().out.split())
    assert "0/" not in words.replace("100", "") and "switched" in words
    # A paused projection stays paused and is reported.
    owner.execute("UPDATE projection_versions SET position = 0, state = 'paused' WHERE live AND name = 'due'")
    assert call(("replay", "due"), *database) == 1
    assert "due is paused at 0 of " in capfd.readouterr().err


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no such device")
@pytest.mark.parametrize(
    "arguments",
    [("projections", "list"), ("export", "-", "--wait-seconds", "0"), ("doctor",), ("keys", "list")],
    ids=" ".join,
)
@pytest.mark.prepared(by=fill)
def test_output_that_has_no_room(database: Database, arguments: tuple[str, ...]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            command(arguments, database), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 3
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("projections", "list", "--json"),
        ("export", "-", "--wait-seconds", "0"),
        ("export", "-", "--format", "hledger"),
        ("doctor",),
        ("replay", "entries"),
        ("stuck",),
        ("report", "trial-balance", "--ledger", "main"),
    ],
    ids=" ".join,
)
@pytest.mark.prepared(by=fill)
def test_a_reader_that_stops_reading(database: Database, arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command(arguments, database), cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writing)
    assert done.returncode == endings.UNREAD
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.prepared(by=fill)
def test_an_export_that_is_interrupted_or_finds_no_room_leaves_nothing(
    database: Database, owner: Connection[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "journal.ndjson"
    target.write_text("what was there before")
    arguments = ("export", str(target), "--wait-seconds", "60")
    # It waits for a seal that nobody makes.
    assert call(("keys", "make", "late", "--role", "auditor"), *database) == 0
    with subprocess.Popen(
        command(arguments, database),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Background jobs of a shell, and all their children, ignore this signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  no thread runs here
    ) as exporting:
        eventually(lambda: is_connected(owner, "tallystick export"))
        assert exporting.poll() is None
        exporting.send_signal(signal.SIGINT)
        _, errors = exporting.communicate(timeout=60)
    assert exporting.returncode == endings.INTERRUPTED
    assert errors.splitlines()[-1] == "tallystick: it was interrupted" and "Traceback" not in errors

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scripts.commands.export_output.os.fsync", full)
    assert call(("export", str(target), "--wait-seconds", "0"), *database) == 3
    assert [path.read_text() for path in tmp_path.iterdir()] == ["what was there before"]


def test_who_interrupts_a_command_while_it_is_loaded_is_told_so_and_nothing_more(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tallystick, "application", interrupted)
    with pytest.raises(SystemExit) as ended:
        tallystick.main()
    assert ended.value.code == endings.INTERRUPTED
    assert capfd.readouterr() == ("", "tallystick: it was interrupted\n")


def test_a_fault_of_the_program_is_an_error_that_says_where(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("scripts.commands.stuck.ask_each", broken)
    assert call(("stuck",), NOWHERE) == 3
    errors = capfd.readouterr().err
    assert errors.startswith("tallystick: a fault of this program: KeyError: 'x' (tests/integration/")
    assert len(errors.splitlines()) == 1


def is_connected(owner: Connection[object], application_name: str) -> bool:
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    return owner.execute(query, (application_name,)).fetchone() is not None


def command(arguments: tuple[str, ...], database: Database) -> list[str]:
    options = ["--database-url", database.url, "--schema", database.schema]
    return [sys.executable, "-m", "scripts.tallystick", *arguments, *options]
