"""Witnesses: what one installation records of another, and that no single owner can have rewritten their past."""

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg import Connection
from typer.testing import Result

from domain.journal.reader import head_of
from domain.model.events import Context
from domain.model.installation.checkpoints import (
    CheckpointDisputed,
    CheckpointDisputeSettled,
    CheckpointWitnessed,
)
from domain.transparency.checkpoints import Checkpoint
from domain.transparency.cosignatures import cosigned_at
from domain.transparency.leaves import hash_of
from domain.transparency.signed_notes import Signer, Verifier, sign, text_of
from domain.transparency.tiles import append as append_leaves
from projections.audit import differences, one_instant, violations
from projections.diagnosis.vital_signs import read_vital_signs
from projections.transparency.checkpoints import read_newest, read_verifiers
from projections.witnessing import logs
from projections.witnessing.judgement import Shown
from projections.witnessing.logs import read_logs
from projections.witnessing.settlement import NoDispute, settle
from projections.witnessing.sources import DatabaseLog
from projections.witnessing.witness import Witness
from scripts.doctor.witnesses import witnessed
from tests.databases import Databases
from tests.integration.doctor.examining import codes, found_by
from tests.integration.exporting import exported, replaced, rewrite, run, verified
from tests.integration.witnessing import Installation, installation
from tests.projecting import await_head, cut, eventually, projecting

pytestmark = pytest.mark.integration

BY = Context("root at a terminal", "conversation-1")


@pytest.fixture
def west(databases: Databases) -> Iterator[Installation]:
    with installation(databases, "west") as made:
        yield made


@pytest.fixture
def east(databases: Databases) -> Iterator[Installation]:
    with installation(databases, "east") as made:
        yield made


@pytest.fixture
def owner_of_east(east: Installation) -> Iterator[Connection[Any]]:
    with psycopg.connect(east.database.conninfo("test owner"), autocommit=True) as owner:
        yield owner


def rewritten(log: Installation, *seeds: bytes) -> None:
    """Rewrite an event, the tree over it and the signature, as only the owner of an installation can.

    With `seeds` it is as if no other key had ever signed.
    """
    with psycopg.connect(log.database.conninfo("test owner"), autocommit=True) as owner:
        stream = "main/accounts/a"
        rewrite(owner, replaced('"actor":"tester"', '"actor":"nobody"', f"originator_id = '{stream}'"))
        rows = owner.execute(
            "SELECT notification_id, originator_id, originator_version, topic, state FROM events"
            " ORDER BY notification_id"
        ).fetchall()
        for (level, number), hashes in append_leaves(0, {}, [hash_of(*row) for row in rows]).items():
            owner.execute(
                "UPDATE seals_v1 SET hashes = %s WHERE level = %s AND number = %s", (hashes, level, number)
            )
        owner.execute("ALTER TABLE checkpoints DISABLE TRIGGER USER")
        owner.execute("DELETE FROM checkpoints")
        owner.execute("ALTER TABLE checkpoints ENABLE TRIGGER USER")
        if seeds:
            owner.execute("ALTER TABLE signing_keys DISABLE TRIGGER USER")
            owner.execute("DELETE FROM signing_keys")
            owner.execute("ALTER TABLE signing_keys ENABLE TRIGGER USER")
    log.seal(*seeds)


def test_a_checkpoint_is_recorded_with_its_note_and_cosigned(west: Installation, east: Installation) -> None:
    east.seal()
    size = west.seal()
    east.look(west.log())
    (first,) = east.records()
    assert isinstance(first.event, CheckpointWitnessed)
    assert (first.stream, first.event.size, first.event.basis) == ("-/witnesses/west", size, "first_use")
    signed = read_newest(west.connection)
    assert signed is not None and first.event.note == signed.note
    (own,) = read_verifiers(east.connection)
    assert cosigned_at(first.event.cosignature, text_of(signed.note), own) > 1_700_000_000
    west.trade(50)
    grown = west.seal()
    east.look(west.log())
    second = east.records()[-1].event
    assert isinstance(second, CheckpointWitnessed)
    assert (second.grown_from, second.size, second.basis) == (size, grown, "grown")
    look = east.looked("west")
    assert (look.seen_size, look.last_error) == (grown, None) and look.seen_at is not None


def test_none_is_its_own_witness(west: Installation) -> None:
    west.seal()
    west.look(west.log()._replace(name="myself"))
    assert not west.records()
    assert "this installation itself" in str(west.looked("myself").last_error)


def test_two_that_witness_each_other_come_to_rest(west: Installation, east: Installation) -> None:
    for each in (west, east):
        each.seal()
    for _ in range(5):
        for one, other in ((west, east), (east, west)):
            one.look(other.log())
            one.seal()
    heads = [head_of(each.connection) for each in (west, east)]
    assert [len(each.records()) for each in (west, east)] == [1, 1]
    for _ in range(5):
        for one, other in ((west, east), (east, west)):
            one.look(other.log())
            one.seal()
    assert [head_of(each.connection) for each in (west, east)] == heads
    west.trade()
    west.seal()
    for _ in range(5):
        for one, other in ((west, east), (east, west)):
            one.look(other.log())
            one.seal()
    # The business of one is recorded once by the other, and the record of it by nobody.
    assert [len(each.records()) for each in (west, east)] == [1, 2]


def test_how_far_ones_own_events_go_is_not_looked_for_without_end(
    west: Installation, east: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    east.seal()
    own = head_of(east.connection)
    for _ in range(3):
        west.trade()
        west.seal()
        east.look(west.log())
    assert (head_of(east.connection), logs.own_size(east.connection)) == (own + 3, own)
    monkeypatch.setattr(logs, "MAX_RECORDS_PASSED", 4)
    assert logs.own_size(east.connection) == own
    monkeypatch.setattr(logs, "MAX_RECORDS_PASSED", 2)
    assert logs.own_size(east.connection) == own + 1
    monkeypatch.setattr(logs, "MAX_RECORDS_PASSED", own + 3)
    assert logs.own_size(east.connection) == own


def test_of_several_loops_one_witnesses_and_another_takes_over(
    west: Installation, east: Installation, owner_of_east: Connection[Any]
) -> None:
    east.seal()
    stop = threading.Event()
    loops = [Witness(east.database, [west.log()], (), stop, 0.05) for _ in range(2)]
    threads = [threading.Thread(target=loop.run) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            west.trade()
            size = west.seal()
            eventually(lambda: read_logs(east.connection).get("west") is not None)
            eventually(lambda: east.witnessed("west").size == size)  # noqa: B023
            # Whichever has the place loses its connection.
            cut(owner_of_east, "tallystick witness")
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    sizes = [record.event.size for record in east.records()]  # type: ignore[attr-defined]
    assert sizes == sorted(set(sizes)) and len(sizes) == 4
    with one_instant(east.connection):
        assert list(violations(east.connection)) == []


def test_a_rewritten_past_is_disputed_once_and_then_left_alone(
    west: Installation, east: Installation
) -> None:
    east.seal()
    west.trade(20)
    west.seal()
    east.look(west.log())
    before = east.witnessed("west")
    rewritten(west)
    for _ in range(3):
        east.look(west.log())
    dispute = east.witnessed("west").dispute
    signed = read_newest(west.connection)
    assert isinstance(dispute, CheckpointDisputed) and signed is not None
    assert (dispute.contradiction, dispute.note, dispute.disputed) == (
        "another_root",
        before.note,
        signed.note,
    )
    assert len(east.records()) == 2
    assert east.looked("west").last_error == "disputed: another_root"
    with one_instant(east.connection):
        assert list(violations(east.connection)) == []


def test_an_operator_decides_how_the_log_goes_on(west: Installation, east: Installation) -> None:
    east.seal()
    west.trade(20)
    west.seal()
    east.look(west.log())
    with pytest.raises(NoDispute):
        settle(east.connection, "west", "kept", "nothing to settle", BY)
    rewritten(west)
    east.look(west.log())
    settle(east.connection, "west", "kept", "they will restore it", BY)
    east.look(west.log())
    assert east.witnessed("west").dispute is not None
    settle(east.connection, "west", "accepted", "they told us why", BY)
    west.trade()
    size = west.seal()
    east.look(west.log())
    assert (east.witnessed("west").size, east.witnessed("west").dispute) == (size, None)
    settled = [record for record in east.records() if isinstance(record.event, CheckpointDisputeSettled)]
    assert [record.envelope.actor for record in settled] == [BY.actor] * 2
    with one_instant(east.connection):
        assert list(violations(east.connection)) == []


def test_a_rotated_key_is_followed(west: Installation, east: Installation) -> None:
    old, new = bytes(32), bytes([1]) * 32
    east.seal()
    west.seal(old)
    east.look(west.log())
    west.seal(new, old)
    east.look(west.log())
    west.trade()
    west.seal(new)
    east.look(west.log())
    west.trade()
    west.seal(bytes([2]) * 32)
    east.look(west.log())
    found = [record.event for record in east.records()]
    assert [event.basis for event in found if isinstance(event, CheckpointWitnessed)] == [
        "first_use",
        "rotated",
        "grown",
    ]
    dispute = east.witnessed("west").dispute
    assert dispute is not None and dispute.contradiction == "another_key"


def test_one_that_does_not_answer_holds_up_no_other(west: Installation, east: Installation) -> None:
    east.seal()
    size = west.seal()
    gone = DatabaseLog("gone", west.database._replace(url="postgresql://nobody@127.0.0.1:1/none"))
    for _ in range(2):
        east.look(gone, west.log())
    assert east.witnessed("west").size == size
    assert [record.stream for record in east.records()] == ["-/witnesses/west"]


class Hostile(NamedTuple):
    """A log that answers what it likes."""

    answer: Any
    name: str = "hostile"
    configured: Sequence[Verifier] = ()

    def look(self, size: int) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def signed(size: int, more: str = "") -> tuple[Shown, list[bytes]]:
    signer = Signer("hostile", bytes(32))
    text = Checkpoint("hostile", size, bytes(32)).text + more
    return Shown(sign(text, [signer]), [signer.verifier]), []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (OverflowError("inf"), "could not be read: OverflowError"),
        (signed(10**19 - 1), "no checkpoint"),
        (signed(5, "\x1b[2J\0\n"), "no signed note"),
        (signed(5, "x" * 100_000 + "\n"), "too long"),
        ((signed(5)[0]._replace(verifiers=[*signed(5)[0].verifiers] * 1001), []), "too long"),
    ],
    ids=["error", "size", "control", "note", "keys"],
)
def test_whatever_one_answers_holds_up_no_other(
    west: Installation, east: Installation, answer: Any, why: str
) -> None:
    east.seal()
    size = west.seal()
    east.look(Hostile(answer), west.log())
    assert why in (east.looked("hostile").last_error or "")
    assert east.witnessed("west").size == size
    assert [record.stream for record in east.records()] == ["-/witnesses/west"]


def test_a_dispute_is_shown_and_settled_by_commands(west: Installation, east: Installation) -> None:
    east.seal()
    west.trade(20)
    west.seal()
    east.look(west.log())
    before = east.witnessed("west")
    rewritten(west)
    east.look(west.log())
    signed = read_newest(west.connection)
    assert signed is not None

    def witnesses(*arguments: str) -> Result:
        return run("witnesses", *arguments, database=east.database)

    assert witnesses("show", "west").stdout == f"{before.note}\n{signed.note}\n"
    (listed,) = json.loads(witnesses("list", "--json").stdout)
    assert (listed["name"], listed["size"], listed["dispute"]) == ("west", before.size, "another_root")
    assert "another_root" in witnesses("list").stdout
    for wrong, words in (("  ", "must not be blank"), ("x" * 501, "at most 500")):
        refused = witnesses("accept", "west", "--reason", wrong)
        assert refused.exit_code == 2 and words in refused.output
    assert witnesses("accept", "west", "--reason", "they told us why").exit_code == 0
    again = witnesses("keep", "west", "--reason", "they told us why")
    assert again.exit_code == 3 and "west is in no dispute" in again.output
    assert witnesses("show", "nobody").exit_code == 3
    settled = east.records()[-1]
    assert isinstance(settled.event, CheckpointDisputeSettled)
    assert (settled.event.decision, settled.event.reason) == ("accepted", "they told us why")
    assert settled.envelope.actor.endswith(" at a terminal")


def test_the_doctor_and_the_metrics_say_what_is_wrong(west: Installation, east: Installation) -> None:
    east.seal()
    west.trade(20)
    west.seal()
    east.look(west.log())
    assert codes(east.database, witnessed) == []
    (sign,) = read_vital_signs(east.connection).witnessed
    assert (sign.log, sign.is_disputed) == ("west", False) and 0 <= sign.unseen_seconds < 900
    east.connection.execute(
        "UPDATE witnessed_logs SET seen_at = now() - interval '1 hour', last_error = 'why'"
    )
    (late,) = found_by(east.database, witnessed)
    assert late.code == "witness_late" and "why" in late.examples[0]
    (sign,) = read_vital_signs(east.connection).witnessed
    assert sign.unseen_seconds >= 3_600
    gone = run("witnesses", "leave", "west", database=east.database)
    assert gone.exit_code == 0 and codes(east.database, witnessed) == []
    assert read_vital_signs(east.connection).witnessed == ()
    assert run("witnesses", "leave", "nobody", database=east.database).exit_code == 3
    rewritten(west)
    east.look(west.log())
    (disputed,) = found_by(east.database, witnessed)
    assert disputed.code == "checkpoint_disputed" and disputed.kind.severity == "error"
    assert "tallystick witnesses show west" in disputed.commands
    (sign,) = read_vital_signs(east.connection).witnessed
    assert sign.is_disputed


def test_verify_shows_that_the_owner_rewrote_what_the_witness_saw(
    west: Installation, east: Installation, tmp_path: Path
) -> None:
    """The owner has the key, so plain verification passes. The witness's journal says otherwise."""
    east.seal()
    first = west.seal()
    east.look(west.log())
    west.trade(20)
    second = west.seal()
    east.look(west.log())
    east.seal()
    witness = tmp_path / "east.ndjson"
    witness.write_bytes(exported(east.database))
    by_database = f"{east.database.url}#{east.database.schema}"
    journal = tmp_path / "west.ndjson"
    journal.write_bytes(exported(west.database))
    for given in (witness, by_database):
        code, found = verified(journal, "--witness", given)
        assert (code, found) == (0, {})
        said = run("verify", journal, "--witness", given).stdout
        assert f"up to position {second}, at 20" in said and "Fixed by " in said
    rewritten(west)
    journal.write_bytes(exported(west.database))
    assert verified(journal) == (0, {})
    for given in (witness, by_database):
        code, found = verified(journal, "--witness", given)
        assert code == 3 and found.keys() == {"history_rewritten", "witness_contradicts"}
        said = run("verify", journal, "--witness", given, "--json").stdout
        assert f"recorded a checkpoint of {first} events at 20" in said
    code, found = verified(journal, "--witness", journal)
    assert code == 3 and found.keys() == {"witness_unaware"}


def test_another_key_or_origin_helps_the_owner_as_little(
    west: Installation, east: Installation, tmp_path: Path
) -> None:
    east.seal()
    west.trade(20)
    west.seal()
    east.look(west.log())
    witness = f"{east.database.url}#{east.database.schema}"
    rewritten(west, bytes(32))
    journal = tmp_path / "west.ndjson"
    journal.write_bytes(exported(west.database))
    assert verified(journal) == (0, {})
    code, found = verified(journal, "--witness", witness)
    assert code == 3 and found.keys() == {"history_rewritten", "witness_contradicts"}
    with psycopg.connect(west.database.conninfo("test owner"), autocommit=True) as owner:
        owner.execute("ALTER TABLE installation DISABLE TRIGGER USER")
        owner.execute("UPDATE installation SET id = gen_random_uuid()")
        owner.execute("ALTER TABLE installation ENABLE TRIGGER USER")
    rewritten(west, bytes(32))
    journal.write_bytes(exported(west.database))
    assert verified(journal) == (0, {})
    code, found = verified(journal, "--witness", witness)
    assert code == 3 and found.keys() == {"witness_unaware"}


def test_verify_names_the_range_that_was_rewritten(
    west: Installation, east: Installation, tmp_path: Path
) -> None:
    east.seal()
    first = west.seal()
    east.look(west.log())
    west.trade(3)
    second = west.seal()
    east.look(west.log())
    with psycopg.connect(west.database.conninfo("test owner"), autocommit=True) as owner:
        rewrite(owner, replaced('"actor":"tester"', '"actor":"nobody"', f"notification_id = {second}"))
    journal = tmp_path / "west.ndjson"
    journal.write_bytes(exported(west.database))
    result = run("verify", journal, "--witness", f"{east.database.url}#{east.database.schema}", "--json")
    words = result.stdout
    assert result.exit_code == 3
    assert f"between positions {first + 1} and {second}" in words
    assert f'"size": {first}' in words


def test_the_journal_of_a_witness_is_exported_and_restored(
    west: Installation, east: Installation, databases: Databases, tmp_path: Path
) -> None:
    east.seal()
    west.seal()
    east.look(west.log())
    east.seal()
    file = tmp_path / "east.ndjson"
    file.write_bytes(exported(east.database))
    with databases.empty() as empty:
        assert run("import", file, database=empty).exit_code == 0
        with empty.connect("test restored") as connection:
            restored = Installation("east", empty, connection)
            assert restored.witnessed("west") == east.witnessed("west")


def test_the_independent_fold_and_projections_pass_over_it(west: Installation, east: Installation) -> None:
    east.seal()
    west.seal()
    east.look(west.log())
    with projecting(east.database):
        await_head(east.connection)
    assert differences(east.connection) == []
    with one_instant(east.connection):
        assert list(violations(east.connection)) == []
