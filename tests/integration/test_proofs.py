"""Proofs of single events: checked without the ledger, by the command and by the program in the page on operating."""

import json
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import Connection
from typer.testing import Result

from domain.journal.database import Database
from domain.transparency.checkpoints import Checkpoint
from domain.transparency.signed_notes import Signer
from projections.transparency.checkpoints import read_newest, read_verifiers
from tests.integration.exporting import exported, replaced, rewrite, run, seal_all, stream_rewritten
from tests.ledgers import open_accounts, outcomes, running, transfer

pytestmark = pytest.mark.integration

OTHER = Signer("tallystick/elsewhere", bytes(32))
ROOT = Path(__file__).parent.parent.parent


def write(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "users:1:wallet", "b")
        outcomes(ledger.execute(*(transfer("users:1:wallet", "b", 1, f"key-{n}") for n in range(6))).result())
    seal_all(database)


def write_more(database: Database) -> None:
    with running(database) as ledger:
        outcomes(ledger.execute(*(transfer("users:1:wallet", "b", 1) for _ in range(90))).result())
    seal_all(database)


@pytest.fixture
def saved(owner: Connection[object], tmp_path: Path) -> Path:
    """The checkpoint an auditor has saved. The journal has grown since."""
    newest = read_newest(owner)
    assert newest is not None
    path = tmp_path / "note"
    path.write_text(newest.note)
    return path


@pytest.fixture
def key(owner: Connection[object]) -> str:
    return str(read_verifiers(owner)[0])


def size_of(note: Path) -> int:
    return int(note.read_text().split("\n")[1])


def proved(database: Database, position: int, *options: object) -> str:
    result = run("prove", "--position", position, *options, database=database)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def checker() -> str:
    """The program in the page on operating that checks a proof."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "scripts" / "README.md").read_text(), re.DOTALL)
    (block,) = (text for text in blocks if "tlog-proof" in text)
    assert len(block.splitlines()) <= 36
    assert "tallystick" not in block and "domain" not in block
    return str(block)


def check(program: str, proof: Path, key: str) -> "subprocess.CompletedProcess[str]":
    """Run that program in a separate process, outside this project."""
    command = [sys.executable, "-I", "-c", program, str(proof), key]
    return subprocess.run(command, cwd=proof.parent, capture_output=True, text=True, timeout=60)


@pytest.mark.prepared(by=write)
def test_every_event_is_proved_against_an_older_and_the_newest_checkpoint(
    database: Database, saved: Path, key: str, tmp_path: Path, checker: str
) -> None:
    write_more(database)
    lines = exported(database).splitlines()[1:-2]
    old = size_of(saved)
    file = tmp_path / "event.tlog-proof"
    for position in (1, 2, 7, old - 1, old):
        for options, size in ((("--checkpoint", saved), old), ((), len(lines))):
            file.write_text(proved(database, position, *options))
            result = run("verify-proof", file, "--verifier-key", key, "--json")
            assert result.exit_code == 0, result.output
            said = json.loads(result.stdout)
            assert (said["proved"], said["position"], said["size"]) == (True, position, size)
            line = json.loads(lines[position - 1])
            assert said["leaf_hash"] == line.pop("leaf_hash")
            assert said["event"] == line
            words = run("verify-proof", "-", "--verifier-key", key, given=file.read_bytes())
            assert words.exit_code == 0
            assert f"in the checkpoint of {size} events" in words.stdout
            if position in (1, 7, old):
                checked = check(checker, file, key)
                assert checked.returncode == 0, checked.stderr
                assert json.loads(checked.stdout) == line


@pytest.mark.prepared(by=write)
def test_a_proof_is_written_to_a_file_and_needs_something_to_trust(
    database: Database, saved: Path, tmp_path: Path
) -> None:
    file = tmp_path / "proof"
    assert run("prove", file, "--position", 5, "--checkpoint", saved, database=database).exit_code == 0
    alone = run("verify-proof", file)
    assert alone.exit_code == 1
    assert "anybody could have made this proof" in alone.stdout
    assert run("verify-proof", file, "--checkpoint", saved).exit_code == 0
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert run("verify-proof", file, "--checkpoint", saved).exit_code == 0


def reencoded(proof: str, change: Callable[[bytes], bytes]) -> str:
    """The proof with another leaf."""
    lines = proof.split("\n")
    leaf = change(b64decode(lines[1].removeprefix("extra ")))
    return "\n".join([lines[0], f"extra {b64encode(leaf).decode()}", *lines[2:]])


def forged(proof: str) -> str:
    """The proof with a checkpoint that somebody else has signed in the name of the log."""
    head, note = proof.split("\n\n", 1)
    origin, size, root = note.split("\n")[:3]
    signed = Checkpoint(origin, int(size), b64decode(root)).signed([Signer(origin, bytes(32))])
    return f"{head}\n\n{signed}"


def without_hash(proof: str) -> str:
    lines = proof.split("\n")
    return "\n".join([*lines[:3], *lines[4:]])


CHANGES: dict[str, Callable[[str], str]] = {
    "another event": lambda proof: reencoded(proof, lambda leaf: leaf.replace(b"tester", b"nobody")),
    "another position": lambda proof: reencoded(
        proof, lambda leaf: leaf.replace(b'"position":5', b'"position":6')
    ),
    "another index": lambda proof: proof.replace("index 4\n", "index 5\n"),
    "an index beyond": lambda proof: proof.replace("index 4\n", "index 4000\n"),
    "a hash too few": without_hash,
    "a hash too many": lambda proof: proof.replace(
        "index 4\n", f"index 4\n{b64encode(bytes(32)).decode()}\n"
    ),
    "a short hash": lambda proof: proof.replace("index 4\n", "index 4\nAAAA\n"),
    "no base64": lambda proof: proof.replace("extra ", "extra !"),
    "no extra": lambda proof: "\n".join([proof.split("\n")[0], *proof.split("\n")[2:]]),
    "another header": lambda proof: proof.replace("@v1", "@v2"),
    "a leaf that is no event": lambda proof: reencoded(proof, lambda _: b"{}"),
    "no checkpoint": lambda proof: proof.split("\n\n")[0],
    "no signature": lambda proof: proof.split("—")[0],
    "another signer": forged,
    "another size": lambda proof: re.sub(r"\n\n(tallystick/\S+)\n\d+\n", r"\n\n\1\n9\n", proof),
    "nothing": lambda _: "",
    "something else": lambda _: "hello",
}


@pytest.mark.prepared(by=write)
def test_whatever_is_changed_in_a_proof_is_found(
    database: Database, saved: Path, key: str, tmp_path: Path, checker: str
) -> None:
    file, proof = tmp_path / "proof", proved(database, 5, "--checkpoint", saved)
    for name, change in CHANGES.items():
        file.write_text(change(proof))
        assert file.read_text() != proof, name
        result = run("verify-proof", file, "--verifier-key", key, "--json")
        assert result.exit_code == 3, (name, result.output)
        said = json.loads(result.stdout)
        assert said["proved"] is False and said["reason"] in result.stderr
    for name in ("another event", "another index", "a hash too few", "another signer", "another size"):
        file.write_text(CHANGES[name](proof))
        assert check(checker, file, key).returncode != 0, name
    file.write_text(proof)
    assert run("verify-proof", file, "--verifier-key", OTHER.verifier).exit_code == 3
    note = Checkpoint(proof.split("\n\n")[1].split("\n")[0], 3, bytes(32)).signed([OTHER])
    saved.write_text(note)
    assert run("verify-proof", file, "--checkpoint", saved).exit_code == 3


def refused(result: Result, *words: str) -> None:
    assert (result.exit_code, result.stdout) == (3, ""), result.output
    assert result.stderr.startswith("tallystick: not_proved: ")
    for word in words:
        assert word in result.stderr


@pytest.mark.prepared(by=write)
def test_what_cannot_be_proved(database: Database, saved: Path, key: str, tmp_path: Path) -> None:
    old = size_of(saved)
    write_more(database)
    prove = ("--wait-seconds", 0, "--checkpoint", saved)
    refused(run("prove", "--position", old + 1, *prove, database=database), "beyond the checkpoint")
    refused(run("prove", "--position", 10**6, *prove, database=database), "the newest is")
    note = saved.read_text()
    origin = note.split("\n")[0]
    saved.write_text(Checkpoint(OTHER.name, 3, bytes(32)).signed([OTHER]))
    refused(run("prove", "--position", 1, *prove, database=database), "of another log", origin)
    result = run("prove", "--position", 1, *prove, "--verifier-key", OTHER.verifier, database=database)
    refused(result, "history was rewritten")
    saved.write_text(note.replace(f"\n{old}\n", f"\n{old - 1}\n"))
    refused(run("prove", "--position", 1, *prove, database=database), "is not of this text")
    saved.write_text("nothing")
    refused(run("prove", "--position", 1, *prove, database=database), "no line of a signature")
    saved.write_text(note)
    short = tmp_path / "nowhere" / "file"
    assert run("prove", short, "--position", 1, *prove, database=database).exit_code in (1, 3)
    assert run("prove", "--position", 0, database=database).exit_code == 2
    with running(database) as ledger:
        outcomes(ledger.execute(transfer("b", "users:1:wallet", 1)).result())
        head = ledger.ledger("main")[1]
    refused(run("prove", "--position", head, "--wait-seconds", 0, database=database), "is not sealed yet")


def altered(owner: Connection[object]) -> None:
    rewrite(owner, replaced('"actor":"tester"', '"actor":"nobody"', "notification_id = 3"))


def deleted(owner: Connection[object]) -> None:
    rewrite(owner, "DELETE FROM stored_events WHERE notification_id = 3")


def rewritten(owner: Connection[object]) -> None:
    """An event rewritten, with the hashes of the whole tree recomputed."""
    rewrite(owner, replaced('"actor":"tester"', '"actor":"shop"', "notification_id > 0"))
    stream_rewritten(owner)


def cut_off(owner: Connection[object]) -> None:
    rewrite(owner, "DELETE FROM stored_events WHERE notification_id > 4", "UPDATE head SET position = 4")


@pytest.mark.parametrize("tamper", [altered, deleted, rewritten, cut_off])
@pytest.mark.prepared(by=write)
def test_a_history_that_was_rewritten_is_not_proved(
    database: Database, owner: Connection[object], saved: Path, tamper: Callable[[Connection[object]], None]
) -> None:
    tamper(owner)
    refused(run("prove", "--position", 3, "--checkpoint", saved, database=database), "history was rewritten")
