"""What a command is given to trust, saved checkpoints and keys: what they show, and why they may show nothing."""

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.model.times import Instant, instant
from domain.transparency.checkpoints import Checkpoint
from domain.transparency.export_format import Attestation, part_line, read_seal
from domain.transparency.signed_notes import Signer
from projections.transparency.checkpoints import read_newest, read_verifiers
from tests.databases import Databases
from tests.integration.exporting import exported, rewrite, run, seal_all, verified
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import projecting

pytestmark = pytest.mark.integration

OTHER = Signer("tallystick/elsewhere", bytes(32))


def write(database: Database) -> None:
    """Write a journal of some twenty events, sealed."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(ledger.execute(*(transfer("a", "b", 1, f"key-{n}") for n in range(6))).result())
    seal_all(database)


def write_more(database: Database) -> None:
    with running(database) as ledger:
        outcomes(ledger.execute(transfer("a", "b", 1), transfer("a", "b", 1)).result())


@pytest.fixture
def other(databases: Databases) -> Iterator[Database]:
    with databases.empty() as database:
        yield database


@pytest.fixture
def note(owner: Connection[Any]) -> str:
    """The checkpoint an auditor has saved."""
    newest = read_newest(owner)
    assert newest is not None
    return newest.note


@pytest.fixture
def file(database: Database, note: str, tmp_path: Path) -> Path:
    """An export of the journal after it has grown past the saved checkpoint."""
    assert note
    write_more(database)
    seal_all(database)
    path = tmp_path / "journal.ndjson"
    path.write_bytes(exported(database))
    return path


@pytest.mark.prepared(by=write)
def test_verify_says_what_a_saved_checkpoint_has_shown(file: Path, note: str, tmp_path: Path) -> None:
    saved = tmp_path / "note"
    saved.write_text(note)
    origin, size, _ = note.split("\n")[:3]
    recorded_at = json.loads(file.read_bytes().splitlines()[int(size)])["event"]["recorded_at"]
    words = (
        f"The history goes on from the checkpoint of {size} events that {origin} signed: nothing up to position {size}"
        f" was changed since; the event there was recorded at {recorded_at}."
    )
    result = run("verify", file, "--checkpoint", saved)
    assert result.exit_code == 0
    assert words in result.stdout.splitlines()
    said = json.loads(run("verify", file, "--checkpoint", saved, "--json").stdout)
    assert said["saved"] == {"origin": origin, "size": int(size), "shown": words}
    assert json.loads(run("verify", file, "--json").stdout)["saved"] is None


UNTIDY: dict[str, Callable[[str], bytes]] = {
    "line ends of Windows": lambda note: note.replace("\n", "\r\n").encode(),
    "no line end": lambda note: note.removesuffix("\n").encode(),
    "no line end, and those of Windows": lambda note: note.strip().replace("\n", "\r\n").encode(),
    "blank lines at the end": lambda note: f"{note}\n\n".encode(),
    "blank lines before": lambda note: f"\n\n{note}".encode(),
    "a blank line too many": lambda note: note.replace("\n\n", "\n\n\n").encode(),
    "blank lines everywhere": lambda note: note.replace("\n", "\n\n").encode(),
    "no blank line": lambda note: note.replace("\n\n", "\n").encode(),
    "blanks at the ends": lambda note: note.replace("\n", "  \n").encode(),
    "indented": lambda note: "".join(f"    {line}\n" for line in note.split("\n")).encode(),
    "a mark of byte order": lambda note: b"\xef\xbb\xbf" + note.encode(),
    "UTF-16": lambda note: note.replace("\n", "\r\n").encode("utf-16"),
}


@pytest.mark.parametrize("kind", UNTIDY)
@pytest.mark.prepared(by=write)
def test_a_note_that_was_saved_untidily_is_read(file: Path, note: str, tmp_path: Path, kind: str) -> None:
    saved = tmp_path / "note"
    saved.write_bytes(UNTIDY[kind](note))
    result = run("verify", file, "--checkpoint", saved)
    assert result.exit_code == 0, result.output
    assert "nothing up to position" in result.stdout


def again(note: str, signer: Signer) -> str:
    """The same checkpoint, signed by another key."""
    origin, size, root = note.split("\n")[:3]
    return Checkpoint(origin, int(size), b64decode(root)).signed([signer])


def changed(note: str) -> str:
    origin, size, rest = note.split("\n", 2)
    return f"{origin}\n{int(size) - 1}\n{rest}"


NO_CHECKPOINTS: dict[str, tuple[Callable[[str], bytes], str, str]] = {
    "empty": (lambda _: b"", "checkpoint_malformed", "nothing in it"),
    "blank": (lambda _: b"\n \n", "checkpoint_malformed", "nothing in it"),
    "a problem": (lambda _: b'{"type":"/problems/x"}', "checkpoint_malformed", 'it begins with “{"type"'),
    "without a signature": (
        lambda note: note.split("—")[0].encode(),
        "checkpoint_malformed",
        "no line of a signature",
    ),
    "a dash of another kind": (
        lambda note: note.replace("—", "-").encode(),
        "checkpoint_malformed",
        "no line of a sig",
    ),
    "two notes": (lambda note: (note * 2).encode(), "checkpoint_malformed", "several notes"),
    "text after it": (
        lambda note: f"{note}yours\n".encode(),
        "checkpoint_malformed",
        "text after its signatures",
    ),
    "bytes": (lambda _: b"\xff\x00\xfe", "checkpoint_malformed", "not text in UTF-8"),
    "a signature alone": (
        lambda note: note[note.index("—") :].encode(),
        "checkpoint_malformed",
        "not what they are of",
    ),
    "signed by nobody who is known": (
        lambda note: again(note, OTHER).encode(),
        "signature_invalid",
        f"it is signed by tallystick/elsewhere (key {OTHER.verifier.key_id.hex()}), known are tallystick/",
    ),
    "of another log": (
        lambda _: Checkpoint(OTHER.name, 9, bytes(32)).signed([OTHER]).encode(),
        "signature_invalid",
        "it is signed by tallystick/elsewhere",
    ),
    "changed": (lambda note: changed(note).encode(), "signature_invalid", "is not of this text"),
}


@pytest.mark.parametrize("kind", NO_CHECKPOINTS)
@pytest.mark.prepared(by=write)
def test_the_reason_that_is_given_is_the_real_one(
    file: Path, note: str, tmp_path: Path, kind: str, other: Database
) -> None:
    make, code, words = NO_CHECKPOINTS[kind]
    saved = tmp_path / "note"
    saved.write_bytes(make(note))
    exit_code, found = verified(file, "--checkpoint", saved)
    assert exit_code == 3
    assert found.keys() == {code}
    assert words in found[code]
    result = run("import", file, "--checkpoint", saved, database=other)
    assert result.exit_code != 0
    assert code in result.stderr
    assert is_empty(other)


def is_empty(database: Database) -> bool:
    """Whether nothing was written, not even a schema."""
    with database.connect_as_owner("test") as connection:
        row = connection.execute("SELECT to_regnamespace(%s)", (database.schema,)).fetchone()
    return row == (None,)


@pytest.mark.prepared(by=write)
def test_an_import_is_held_against_what_is_trusted(
    database: Database, owner: Connection[Any], file: Path, note: str, tmp_path: Path, other: Database
) -> None:
    saved, key = tmp_path / "note", read_verifiers(owner)[0]
    saved.write_text(note)
    for options in (
        ("--verifier-key", OTHER.verifier),
        ("--verifier-key", OTHER.verifier, "--checkpoint", saved),
    ):
        result = run("import", file, *options, database=other)
        assert result.exit_code != 0
        assert "signature_invalid" in result.stderr
        assert is_empty(other)
    options = ("--verifier-key", key, "--checkpoint", saved)
    assert run("verify", file, *options).exit_code == 0
    result = run("import", file, *options, database=other)
    assert result.exit_code == 0, result.output
    assert "nothing up to position" in result.stdout


@pytest.mark.prepared(by=write)
def test_an_import_that_shows_nothing_of_what_it_was_to_show(
    owner: Connection[Any], database: Database, file: Path, note: str, tmp_path: Path, other: Database
) -> None:
    saved, key = tmp_path / "note", read_verifiers(owner)[0]
    saved.write_text(note)
    short = tmp_path / "short.ndjson"
    short.write_bytes(exported(database, "--to", int(note.split("\n")[1]) - 1))
    assert verified(short, "--checkpoint", saved)[1].keys() == {"checkpoint_incomparable"}
    result = run("import", short, "--checkpoint", saved, database=other)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "continues the checkpoint" in result.stderr
    *lines, last = file.read_bytes().splitlines()
    seal = read_seal(last)
    short.write_bytes(b"\n".join(lines) + b"\n" + part_line(Attestation(None, [], seal.verifiers, seal.head)))
    result = run("import", short, "--verifier-key", key, database=other)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "signed by the key" in result.stderr
    assert is_empty(other)


@pytest.mark.prepared(by=write)
def test_a_history_that_was_rewritten_is_not_imported_where_a_checkpoint_is_kept(
    database: Database, owner: Connection[Any], note: str, tmp_path: Path, other: Database
) -> None:
    saved, file = tmp_path / "note", tmp_path / "journal.ndjson"
    saved.write_text(note)
    rewrite(owner, "DELETE FROM stored_events WHERE notification_id > 3", "UPDATE head SET position = 3")
    file.write_bytes(exported(database))
    lines = file.read_bytes().splitlines()
    seal = read_seal(lines[-1])
    keys = [*seal.verifiers, str(OTHER.verifier)]
    root = bytes.fromhex(json.loads(lines[-2])["root"])
    forged = Checkpoint(OTHER.name, 3, root).signed([OTHER])
    file.write_bytes(b"\n".join(lines[:-1]) + b"\n" + part_line(Attestation(forged, [], keys, 3)))
    assert verified(file)[0] == 0  # the author of the file names the keys as well
    assert "events_missing" in verified(file, "--checkpoint", saved)[1]
    assert run("import", file, "--checkpoint", saved, database=other).exit_code != 0
    assert is_empty(other)
    assert run("import", file, database=other).exit_code == 0


def test_what_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "journal.ndjson"
    file.write_bytes(b"")
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "folder").mkdir()
    result = run("verify", file, "--checkpoint", tmp_path / "folder")
    assert result.exit_code == 2 and "contains no checkpoint" in result.stderr
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")
    for given in ("none", "x" * 5000, "a\x00b", tmp_path / "empty", tmp_path / "bytes", tmp_path, "a+b+c"):
        for command in ("verify", "import"):
            result = run(command, file, "--verifier-key", given)
            assert result.exit_code == 2, (given, result.output)
            assert "--verifier-key" in result.stderr


@contextmanager
def load(database: Database) -> Iterator[None]:
    """Transfers one after another, meanwhile."""
    stop = threading.Event()

    def go_on() -> None:
        with running(database) as ledger:
            while not stop.is_set():
                outcomes(ledger.execute(transfer("a", "b", 1)).result())
                stop.wait(0.002)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


@pytest.mark.prepared(by=write)
def test_under_load_nothing_is_found_to_be_wrong(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "journal.ndjson"
    with projecting(database), load(database):
        for _ in range(3):
            result = run("verify", "--live", "--json", database=database)
            assert (result.exit_code, json.loads(result.stdout)["findings"]) == (0, [])
            assert run("export", file, "--wait-seconds", 30, database=database).exit_code == 0
            assert verified(file) == (0, {})


@pytest.mark.parametrize(
    ("seconds", "codes"),
    [(-3600, {"events_unsealed"}), (-20, {"events_unsealed"}), (0, set[str]()), (3600, {"events_unsealed"})],
)
def test_what_should_be_sealed_by_now_is_a_warning(database: Database, seconds: int, codes: set[str]) -> None:
    """The events are recorded at another time, by a machine with such a clock."""

    def clock() -> Instant:
        return instant(datetime.now(UTC) + timedelta(seconds=seconds))

    with LedgerApplication(database, lambda: instant(datetime.now(UTC) - timedelta(hours=2))) as ledger:
        ledger.start()
        open_accounts(ledger, "a", "b")
    seal_all(database)
    with LedgerApplication(database, clock) as ledger:
        ledger.start()
        outcomes(ledger.execute(transfer("a", "b", 1)).result())
    result = run("verify", "--live", "--json", database=database)
    found = {finding["code"] for finding in json.loads(result.stdout)["findings"]}
    assert found == codes
    assert result.exit_code == bool(codes)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    file, none = tmp_path / "journal.ndjson", tmp_path / "none"
    file.write_bytes(b"")
    for command in (
        ("verify", file, "--checkpoint", none),
        ("verify", "--live", "--checkpoint", none),
        ("import", file, "--checkpoint", none),
        ("prove", "--position", 1, "--checkpoint", none),
        ("verify-proof", file, "--checkpoint", none),
        ("verify-proof", none),
    ):
        result = run(*map(str, command))
        assert (result.exit_code, result.stdout) == (3, ""), result.output
        assert f"{none} cannot be read: No such file" in result.stderr
