"""Exports: the journal as a file, verified without a database, restored into another, and tampering detected."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.transparency.checkpoints import Checkpoint
from domain.transparency.export_format import Attestation, event_line, part_line, read_event, read_seal
from domain.transparency.leaves import hash_of
from domain.transparency.merkle_tree import Accumulator
from domain.transparency.signed_notes import Signer
from projections.registry import install
from projections.transparency.checkpoints import read_newest, read_verifiers
from tests.author import Author
from tests.databases import Databases
from tests.integration.exporting import exported, replaced, rewrite, run, seal_all, stream_rewritten, verified
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import append

pytestmark = pytest.mark.integration


KEY = Signer("tallystick/elsewhere", bytes(32))


def write(database: Database) -> None:
    """Write a journal with every kind of event, projected and sealed."""
    author = Author(database, seed=4)
    author.write(rounds=6)
    author.write_of_accounts()
    author.write_of_payouts(8)
    seal_all(database)


@pytest.fixture
def other(databases: Databases) -> Iterator[Database]:
    """Another database, empty."""
    with databases.empty() as database:
        yield database


@pytest.mark.prepared(by=write)
def test_the_journal_is_exported_and_verified(
    database: Database, owner: Connection[Any], tmp_path: Path
) -> None:
    file = tmp_path / "journal.ndjson"
    assert run("export", file, database=database).exit_code == 0
    assert file.read_bytes() == exported(database)
    assert [path.name for path in tmp_path.iterdir()] == ["journal.ndjson"]
    lines = file.read_bytes().splitlines()
    rows = owner.execute(
        "SELECT notification_id, originator_id, originator_version, topic, state FROM events"
        " ORDER BY notification_id"
    ).fetchall()
    assert [tuple(read_event(line)[0])[:5] for line in lines[1:-2]] == rows
    assert json.loads(lines[-2])["root"] == Accumulator(hash_of(*row) for row in rows).root.hex()
    keys = [str(verifier) for verifier in read_verifiers(owner)]
    assert verified(file) == verified(file, "--verifier-key", keys[0]) == (0, {})
    words = run("verify", file)
    assert words.exit_code == 0
    assert f"positions 1 to {len(rows)}" in words.stdout and "nothing" in words.stdout.lower()
    assert run("verify", "-", given=file.read_bytes()).exit_code == 0


@pytest.mark.prepared(by=write)
def test_what_is_imported_is_exported_to_the_same_bytes(
    database: Database, owner: Connection[Any], other: Database, tmp_path: Path
) -> None:
    file, note, after = tmp_path / "journal.ndjson", tmp_path / "checkpoint", tmp_path / "after.ndjson"
    file.write_bytes(exported(database))
    lines = file.read_bytes().splitlines()
    size = len(lines) - 3
    note.write_text(read_seal(lines[-1]).checkpoint or "")
    restored = run("import", file, database=other)
    assert (restored.exit_code, restored.stdout) == (0, f"{size} events were imported.\n")
    install(other)
    seal_all(other)
    with other.connect_as_owner("test") as connection:
        trusted = [
            ("--verifier-key", key) for source in (owner, connection) for key in read_verifiers(source)
        ]
    options = [option for pair in trusted for option in pair]
    assert run("verify", "--live", *options, "--checkpoint", note, database=other).exit_code == 0
    after.write_bytes(exported(other))
    assert after.read_bytes().splitlines()[:-1] == lines[:-1]
    with running(other) as ledger:  # it continues from there
        open_accounts(ledger, "after", "afterwards")
    after.write_bytes(exported(other))
    assert verified(after, "--checkpoint", note, *options)[1].keys() == {"events_unsealed"}
    refused = run("import", file, database=other)
    assert refused.exit_code == 3
    assert "has events" in refused.stderr


FIRST_POSTING = (
    "notification_id = (SELECT min(notification_id) FROM events WHERE topic = 'transaction.posted')"
)


def amount_changed(owner: Connection[Any]) -> None:
    rewrite(owner, replaced('"amount":', '"amount":1', FIRST_POSTING))


def event_deleted(owner: Connection[Any]) -> None:
    rewrite(owner, f"DELETE FROM stored_events WHERE {FIRST_POSTING}")


def events_swapped(owner: Connection[Any]) -> None:
    swapped = (
        "UPDATE stored_events SET notification_id = CASE notification_id WHEN 30 THEN 31 WHEN 31 THEN 30 ELSE"
    )
    rewrite(
        owner,
        f"DROP INDEX events_notification_id; {swapped} notification_id END WHERE notification_id IN (30, 31)",
    )


def appended_in_the_past(owner: Connection[Any]) -> None:
    """An earlier command appended again at the end with its original times."""
    rewrite(
        owner,
        "INSERT INTO stored_events SELECT 'main/accounts/new', 1, topic, state, (SELECT position + 1 FROM head)"
        " FROM events WHERE topic = 'account.opened' ORDER BY notification_id LIMIT 1",
        "UPDATE head SET position = position + 1",
    )


def put_in_between(owner: Connection[Any]) -> None:
    """An event that only its place betrays: all later positions are moved."""
    rewrite(
        owner,
        "DROP INDEX events_notification_id; UPDATE stored_events SET notification_id = notification_id + 1"
        " WHERE notification_id > 40",
        "INSERT INTO stored_events SELECT 'between/ledger', 1, 'ledger.opened', state, 41 FROM events"
        " WHERE topic = 'ledger.opened' ORDER BY notification_id LIMIT 1",
        "UPDATE head SET position = position + 1",
    )


TAMPERINGS: Sequence[tuple[Callable[[Connection[Any]], None], set[str], str]] = (
    (amount_changed, {"event_altered", "journal_entries_unmatched", "checkpoint_mismatch"}, "posted"),
    (event_deleted, {"journal_position_gap", "journal_entries_unmatched", "export_incomplete"}, "follows"),
    (events_swapped, {"event_altered", "checkpoint_mismatch"}, "position 30"),
    (appended_in_the_past, {"journal_time_reversed", "events_unsealed"}, "accounts/new"),
    (put_in_between, {"event_altered", "checkpoint_mismatch"}, "position 41, between/ledger"),
    (stream_rewritten, {"checkpoint_mismatch", "history_rewritten"}, "saved checkpoint"),
)


@pytest.mark.parametrize(("tamper", "codes", "words"), TAMPERINGS)
@pytest.mark.prepared(by=write)
def test_whatever_is_tampered_with_is_named(
    database: Database,
    owner: Connection[Any],
    tmp_path: Path,
    tamper: Callable[[Connection[Any]], None],
    codes: set[str],
    words: str,
) -> None:
    file, note = tmp_path / "journal.ndjson", tmp_path / "checkpoint"
    newest = read_newest(owner)
    assert newest is not None
    note.write_text(newest.note)
    tamper(owner)
    result = run("export", file, "--wait-seconds", 0, database=database)
    code, found = verified(file, "--checkpoint", note)
    assert code == 3
    assert codes <= found.keys(), found
    assert words in " ".join(found.values())
    assert result.exit_code == (3 if "journal_position_gap" in found else 0)
    live = run("verify", "--live", "--json", "--checkpoint", note, database=database)
    assert live.exit_code == 3
    assert found.keys() <= {finding["code"] for finding in json.loads(live.stdout)["findings"]}
    assert run("import", file, database=database).exit_code == 3


def write_little(database: Database) -> None:
    """Write a journal of some twenty events, sealed."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(ledger.execute(*(transfer("a", "b", 1, f"key-{n}") for n in range(6))).result())
    seal_all(database)


@pytest.mark.prepared(by=write_little)
def test_a_part_of_the_journal_is_verified_by_what_was_signed(
    database: Database, owner: Connection[Any], tmp_path: Path
) -> None:
    file, note = tmp_path / "part.ndjson", tmp_path / "checkpoint"
    newest = read_newest(owner)
    assert newest is not None
    note.write_text(newest.note)
    for since, until in ((1, 5), (6, 9), (10, newest.size), (newest.size + 1, newest.size), (1, 0)):
        file.write_bytes(exported(database, "--from", since, "--to", until))
        code, found = verified(file)
        assert found.keys() <= {"beginning_absent"}, found
        assert code == (since > 1)
        line = file.read_bytes().splitlines()
        if until > since:
            file.write_bytes(b"\n".join([line[0], *line[2:]]) + b"\n")
            assert "export_incomplete" in verified(file)[1]
            assert "checkpoint_mismatch" in verified(file)[1]
    file.write_bytes(exported(database, "--to", 5))
    write_more(database)
    seal_all(database)
    longer = tmp_path / "longer.ndjson"
    longer.write_bytes(exported(database, "--to", 5))
    assert verified(longer, "--checkpoint", note)[1].keys() == {"checkpoint_incomparable"}
    longer.write_bytes(exported(database, "--from", newest.size + 1))
    assert verified(longer, "--checkpoint", note)[1].keys() == {"beginning_absent"}
    longer.write_bytes(exported(database, "--from", newest.size + 2))
    assert verified(longer, "--checkpoint", note)[1].keys() == {"beginning_absent", "checkpoint_incomparable"}


def write_more(database: Database) -> None:
    with running(database) as ledger:
        outcomes(ledger.execute(transfer("a", "b", 1), transfer("a", "b", 1)).result())


@pytest.mark.prepared(by=write_little)
def test_a_journal_that_lost_its_end_is_found_by_a_checkpoint_of_before(
    database: Database, owner: Connection[Any], tmp_path: Path
) -> None:
    file, note = tmp_path / "journal.ndjson", tmp_path / "checkpoint"
    file.write_bytes(exported(database))
    write_more(database)
    seal_all(database)
    note.write_text(getattr(read_newest(owner), "note", ""))
    assert verified(file) == (0, {})
    code, found = verified(file, "--checkpoint", note)
    assert code == 3 and found.keys() == {"events_missing"}
    ends, covers = len(file.read_bytes().splitlines()) - 3, note.read_text().splitlines()[1]
    assert f"ends at position {ends}" in str(found) and f"{ends + 1} to {covers} is missing" in str(found)


@pytest.mark.prepared(by=write_little)
def test_what_is_not_signed_by_who_must_have_signed_it(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "journal.ndjson"
    file.write_bytes(exported(database))
    assert verified(file, "--verifier-key", KEY.verifier)[1].keys() == {"signature_invalid"}
    *lines, last = file.read_bytes().splitlines()
    seal = read_seal(last)
    root = bytes.fromhex(json.loads(lines[-1])["root"])
    forged = Checkpoint(KEY.name, len(lines) - 2, root).signed([KEY])
    keys = [*seal.verifiers, str(KEY.verifier)]
    file.write_bytes(b"\n".join(lines) + b"\n" + part_line(Attestation(forged, [], keys, seal.head)))
    assert verified(file) == (0, {})  # the author of the file names the key as well
    assert verified(file, "--verifier-key", seal.verifiers[0])[1].keys() == {"signature_invalid"}
    file.write_bytes(b"\n".join(lines) + b"\n" + part_line(Attestation(None, [], keys, seal.head)))
    assert verified(file)[1].keys() == {"checkpoint_missing"}


@pytest.mark.prepared(by=write_little)
def test_a_file_that_is_no_whole_export(database: Database, other: Database, tmp_path: Path) -> None:
    file, whole = tmp_path / "journal.ndjson", exported(database)
    for text in (
        b"",
        b"\n",
        whole[:-1],
        whole[: len(whole) // 2],
        b"{}\n{}\n{}\n",
        whole[1:],
        whole.splitlines()[0],
    ):
        file.write_bytes(text)
        for command in ("verify", "import"):
            result = run(command, file, database=other if command == "import" else None)
            assert (result.exit_code, result.stdout) == (3, "")
            assert "export_malformed" in result.stderr
    lines = whole.splitlines()
    for text in (b"nothing", b"{}", lines[3].replace(b"main", b"mein")):
        file.write_bytes(b"\n".join([*lines[:3], text, *lines[4:]]) + b"\n")
        code, found = verified(file)
        assert code == 3
        assert {"export_malformed", "event_altered"} & found.keys()
        refused = run("import", file, database=other)
        assert (refused.exit_code, refused.stdout) == (3, "")
        assert "was not imported" in refused.stderr


@pytest.mark.prepared(by=write_little)
def test_an_event_that_is_there_twice_is_a_key_used_twice(database: Database, tmp_path: Path) -> None:
    file, lines = tmp_path / "journal.ndjson", exported(database).splitlines()
    (posting,) = (
        line for line in lines[1:-2] if b'"idempotency_key":"key-0"' in line and b"transaction.posted" in line
    )
    again = read_event(posting)[0]._replace(position=len(lines) - 2)
    added = event_line(again._replace(sealed=hash_of(*again[:5])))[:-1]
    file.write_bytes(b"\n".join([*lines[:-2], added, *lines[-2:]]) + b"\n")
    assert {"journal_key_reused", "export_incomplete"} <= verified(file)[1].keys()


@pytest.mark.prepared(by=write_little)
def test_projections_are_verified_with_the_journal(database: Database, owner: Connection[Any]) -> None:
    assert run("verify", "--live", database=database).exit_code == 0
    owner.execute("UPDATE balances_v1 SET posted_debits = posted_debits + 1 WHERE address = 'a'")
    result = run("verify", "--live", "--json", database=database)
    assert result.exit_code == 3
    (found,) = json.loads(result.stdout)["findings"]
    assert found["code"] == "projection_differs" and "posted_debits" in found["examples"][0]


@pytest.mark.prepared(by=write_little)
def test_bytes_that_no_release_writes_are_exported_and_named(
    database: Database, owner: Connection[Any], tmp_path: Path
) -> None:
    for version, state in enumerate((b"\n{}", b"\xff", b"{}"), start=1):
        append(owner, "main/transactions/odd", version, "transaction.posted", state)
    file = tmp_path / "journal.ndjson"
    file.write_bytes(exported(database))
    code, found = verified(file)
    assert code == 3
    assert found.keys() == {"journal_event_unreadable", "events_unsealed"}


def test_an_empty_journal(database: Database, other: Database, tmp_path: Path) -> None:
    file = tmp_path / "journal.ndjson"
    file.write_bytes(exported(database))
    assert verified(file)[1].keys() == {"checkpoint_missing"}
    assert run("import", file, database=other).stdout == "0 events were imported.\n"


@pytest.mark.prepared(by=write_little)
def test_commands_used_wrongly(database: Database, other: Database, tmp_path: Path) -> None:
    file = tmp_path / "journal.ndjson"
    wrong: Sequence[tuple[tuple[str | Path, ...], str]] = (
        (("verify",), "FILE"),
        (("verify", file, "--live"), "FILE"),
        (("verify", "--live", "--verifier-key", "none"), "--verifier-key"),
        (("export", "--ledger", "main"), "--ledger"),
        (("export", "--format", "hledger", "--from", "2"), "--from"),
        (("export", "--from", "0"), "--from"),
    )
    for (command, *arguments), words in wrong:
        result = run(str(command), *arguments, database=database)
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr
    impossible: Sequence[tuple[tuple[str | Path, ...], str]] = (
        (("export", "--to", "999", "--wait-seconds", "0"), "the newest is"),
        (("export", "--format", "beancount", "--to", "999"), "the newest is"),
        (("export", tmp_path / "nowhere" / "file", "--wait-seconds", "0"), "cannot be written"),
        (("import", file), "cannot be read"),
        (("verify", "--live", "--checkpoint", tmp_path / "none"), "cannot be read"),
        (("verify", file), "cannot be read"),
        (("export", tmp_path, "--wait-seconds", "0"), "it is a folder"),
        (("export", "--format", "hledger", "--ledger", "nowhere"), "ledger_not_found"),
        (("export", "--format", "beancount", "--ledger", "nowhere"), "ledger_not_found"),
    )
    for (command, *arguments), words in impossible:
        result = run(str(command), *arguments, database=database)
        assert (result.exit_code, result.stdout) == (3, "")
        assert words in result.stderr
    for command in ("verify", "import"):
        result = run(command, "/dev/null", database=other)
        assert (result.exit_code, result.stdout) == (3, "")
        assert "/dev/null is not a whole export: the file is empty" in result.stderr
    file.write_bytes(exported(database, "--from", 3))
    refused = run("import", file, database=other)
    assert (refused.exit_code, "begins at position 3" in refused.stderr) == (3, True)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.prepared(by=write_little)
def test_a_service_goes_on_from_what_was_imported(
    database: Database, other: Database, tmp_path: Path
) -> None:
    file = tmp_path / "journal.ndjson"
    file.write_bytes(exported(database))
    migrate(other)
    with running(other) as ledger:  # it is already running and knows the journal as empty
        assert run("import", file, database=other).exit_code == 0
        (replayed,) = outcomes(ledger.execute(transfer("a", "b", 1, "key-3")).result())
        assert replayed.replayed
        (made,) = outcomes(ledger.execute(transfer("a", "b", 1, "key-after")).result())
        assert not made.replayed


@pytest.mark.prepared(by=write)
def test_an_export_is_read_from_a_pipe_by_name(database: Database, tmp_path: Path) -> None:
    pipe, content = tmp_path / "pipe", exported(database)
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=(content,))
    writing.start()
    result = run("verify", pipe, database=database)
    writing.join(10)
    assert result.exit_code == 0, result.stderr
