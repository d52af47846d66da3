"""Seals: the tree matches the journal, and signed checkpoints never contradict one another, even after tampering."""

import multiprocessing
import os
import random
import signal
import threading
from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from psycopg import Connection, errors
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.model.errors import InvalidRequest
from domain.transparency.checkpoints import Checkpoint, open_checkpoint
from domain.transparency.leaves import hash_of
from domain.transparency.merkle_tree import Accumulator, verify_consistency, verify_inclusion
from domain.transparency.signed_notes import Signer, Verifier
from projections.audit import differences
from projections.engine.batches import Claim, Contradicted, advance, read_batch, take_over
from projections.errors import ProjectionBehind
from projections.read_models.seals import PROJECTION
from projections.rebuilding.rebuilder import rebuild
from projections.running.positions import progress
from projections.running.projector import run_projector
from projections.transparency.checkpoints import keep, read_newest, read_verifiers, take_keys
from projections.transparency.proofs import prove_growth, prove_inclusion
from projections.transparency.signer import Sealer, seal
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import append, await_head, eventually, projecting, set_state
from tests.tampering import arm, disarm

pytestmark = pytest.mark.integration

SEALS = (PROJECTION,)


def write(database: Database, transfers: int) -> None:
    """Append three events for each transfer, and some before the first."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(transfers))).result())


def leaves(database: Database) -> list[bytes]:
    """The leaves of the journal as it is stored at that moment."""
    with database.connect("test") as connection:
        rows = connection.execute(
            "SELECT notification_id, originator_id, originator_version, topic, state FROM events"
            " ORDER BY notification_id"
        ).fetchall()
    return [hash_of(*row) for row in rows]


def project_all(database: Database, sizes: Iterator[int]) -> None:
    """Bring the tree to the head, in batches of the given sizes."""
    claim, position, head = Claim(PROJECTION, 1, uuid4(), "running"), 0, len(leaves(database))
    with database.connect("test") as connection:
        take_over(connection, claim)
        while position < head:
            batch = read_batch(connection, PROJECTION, position, min(head, position + next(sizes)))
            assert advance(connection, claim, batch, 0.0, None)
            position = batch.upto


def signed(connection: Connection[Any]) -> Checkpoint:
    """The newest checkpoint, its signature verified."""
    newest = read_newest(connection)
    assert newest is not None
    checkpoint = open_checkpoint(newest.note, read_verifiers(connection))
    assert checkpoint.size == newest.size
    return checkpoint


def await_sealed(connection: Connection[Any], size: int) -> Checkpoint:
    """Wait until a checkpoint covers this many events, and return it."""

    def is_sealed() -> bool:
        newest = read_newest(connection)
        return newest is not None and newest.size >= size

    eventually(is_sealed)
    return signed(connection)


def count(connection: Connection[Any]) -> int:
    (number,) = connection.execute("SELECT count(*) FROM checkpoints").fetchone() or (0,)
    return int(number)


@pytest.fixture
def sealed(database: Database) -> Database:
    """A journal of some hundred events, and its tree, not signed yet."""
    write(database, 200)
    project_all(database, iter(lambda: 300, None))
    return database


@pytest.mark.parametrize("sizes", [[1], [255, 1], [256], [257, 3], [5000]])
def test_the_tree_is_that_of_the_journal_in_batches_of_any_size(database: Database, sizes: list[int]) -> None:
    write(database, 200)
    chance = random.Random(len(sizes))
    project_all(database, iter(lambda: chance.choice(sizes), None))
    stored = leaves(database)
    with database.connect("test") as connection:
        found = seal(connection, take_keys(connection, []))
        checkpoint = signed(connection)
    assert found is not None
    assert (checkpoint.size, checkpoint.root) == (len(stored), Accumulator(stored).root)


def test_proofs_of_all_that_is_sealed(sealed: Database) -> None:
    stored = leaves(sealed)
    size = len(stored)
    roots = [Accumulator(stored[:length]).root for length in range(size + 1)]
    chance = random.Random(1)
    with sealed.connect("test") as connection:
        with pytest.raises(ProjectionBehind):
            prove_inclusion(connection, 1, None)
        seal(connection, take_keys(connection, []))
        assert prove_inclusion(connection, 5, None).root == signed(connection).root == roots[size]
        assert prove_growth(connection, 0, None).second == size
        for _ in range(60):
            first, second = sorted(chance.choices(range(1, size + 1), k=2))
            proof = prove_inclusion(connection, first, second)
            assert (proof.leaf_hash, proof.root) == (stored[first - 1], roots[second])
            assert verify_inclusion(proof.leaf_hash, first - 1, second, proof.root, proof.path)
            growth = prove_growth(connection, first, second)
            assert (growth.first_root, growth.second_root) == (roots[first], roots[second])
            assert verify_consistency(first, second, roots[first], roots[second], growth.path)


def test_what_cannot_be_proved(sealed: Database) -> None:
    size = len(leaves(sealed))
    with sealed.connect("test") as connection:
        seal(connection, take_keys(connection, []))
        write_more(sealed, 3)
        refused = [
            (prove_inclusion, 3, 2, "?position"),
            (prove_inclusion, size + 10, None, "?position"),
            (prove_inclusion, 1, size + 10, "?size"),
            (prove_growth, 3, 2, "?from"),
            (prove_growth, 3, size + 10, "?to"),
            (prove_growth, size + 10, None, "?from"),
        ]
        for prove, first, second, pointer in refused:
            with pytest.raises(InvalidRequest) as caught:
                prove(connection, first, second)
            assert caught.value.errors[0]["pointer"] == pointer
        for prove, first, second in ((prove_inclusion, size + 1, None), (prove_growth, 1, size + 1)):
            with pytest.raises(ProjectionBehind) as behind:
                prove(connection, first, second)
            assert (behind.value.position, behind.value.head) == (size, size + 3)


def write_more(database: Database, events: int) -> None:
    """Append events this release cannot read. They are sealed like all others."""
    with database.connect_as_owner("test") as connection:
        for number in range(events):
            append(connection, f"strange/{uuid4()}", 1, "thing.happened", f"no JSON {number} \xff".encode())


def test_a_projector_seals_what_is_recorded(database: Database, owner: Connection[Any]) -> None:
    with projecting(database, SEALS):
        empty = await_sealed(owner, 0)
        assert empty.root == Accumulator().root
        write(database, 50)
        first = await_sealed(owner, 100)
        write_more(database, 5)
        stored = leaves(database)
        second = await_sealed(owner, len(stored))
    assert first.root == Accumulator(stored[: first.size]).root
    assert second.root == Accumulator(stored).root
    notes = [note for (note,) in owner.execute("SELECT note FROM checkpoints ORDER BY number").fetchall()]
    origin = first.origin
    (installation,) = owner.execute("SELECT id FROM installation").fetchone() or (None,)
    assert origin == f"tallystick/{installation}"
    (key,) = owner.execute("SELECT public_key FROM signing_keys").fetchone() or (b"",)
    for note in notes:
        text, _, signature = note.partition("\n\n")
        encoded = signature.removesuffix("\n").removeprefix(f"— {origin} ")
        Ed25519PublicKey.from_public_bytes(key).verify(b64decode(encoded)[4:], f"{text}\n".encode())


def run_and_be_killed(database: Database) -> None:
    """Runs in a separate process: project and seal, for ever."""
    run_projector(database, threading.Event(), SEALS)


def test_killed_in_the_midst_it_goes_on(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = multiprocessing.get_context("spawn")
    for _ in range(int(os.environ.get("TALLYSTICK_KILLS", "3"))):
        process = spawn.Process(target=run_and_be_killed, args=(database,), daemon=True)
        process.start()
        before = progress(owner, "seals").position
        write(database, random.randrange(30, 300))
        eventually(lambda before=before: progress(owner, "seals").position > before)  # type: ignore[misc]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
    with projecting(database, SEALS):
        stored = leaves(database)
        await_sealed(owner, len(stored))
    assert_consistent(owner, stored)


def assert_consistent(owner: Connection[Any], stored: list[bytes]) -> None:
    """Assert that the journal's present tree extends the tree of every checkpoint ever signed."""
    verifiers = read_verifiers(owner)
    for (note,) in owner.execute("SELECT note FROM checkpoints").fetchall():
        checkpoint = open_checkpoint(note, verifiers)
        assert checkpoint.root == Accumulator(stored[: checkpoint.size]).root


def tamper(owner: Connection[Any], statement: str) -> None:
    """Do what only a malicious superuser can."""
    with owner.transaction():
        disarm(owner)
        assert owner.execute(statement.encode()).rowcount
        arm(owner)


def zero_tiles(condition: str) -> str:
    return f"UPDATE seals_v1 SET hashes = decode(repeat('00', length(hashes)), 'hex') WHERE {condition}"


@pytest.mark.parametrize(
    "statement",
    [
        zero_tiles("level = 0 AND number = (SELECT max(number) FROM seals_v1 WHERE level = 0)"),
        zero_tiles("level = 1"),
        "DELETE FROM seals_v1 WHERE level = 1",
        "UPDATE checkpoints SET note = replace(note, E'\\n60', E'\\n59') WHERE size > 600",
        "UPDATE checkpoints SET note = 'none' WHERE size > 600",
        "DELETE FROM signing_keys",
    ],
)
def test_a_tree_that_contradicts_what_was_signed_is_never_signed(
    sealed: Database, owner: Connection[Any], statement: str
) -> None:
    with sealed.connect("test") as connection:
        seal(connection, take_keys(connection, []))
        before = count(owner)
        tamper(owner, statement)
        write_more(sealed, 3)
    with projecting(sealed, SEALS):
        eventually(lambda: progress(owner, "seals").state == "halted")
        assert progress(owner, "seals").last_error
        set_state(owner, "seals", "running")
        eventually(lambda: progress(owner, "seals").state == "halted")
    assert count(owner) == before
    with sealed.connect("test") as connection:
        for state in ("halted", "running", "paused"):
            set_state(owner, "seals", state)
            seal(connection, take_keys(connection, []))
            assert (progress(owner, "seals").state, count(owner)) == ("halted", before)


def test_a_tree_made_anew_from_a_journal_that_was_changed_is_never_signed(
    sealed: Database, owner: Connection[Any]
) -> None:
    with sealed.connect("test") as connection:
        seal(connection, take_keys(connection, []))
    before = signed(owner)
    assert differences(owner, "seals") == []
    changed = "convert_to(replace(convert_from(state, 'UTF8'), 'tester', 'nobody'), 'UTF8')"
    tamper(owner, f"UPDATE stored_events SET state = {changed} WHERE notification_id = 7")
    tiles = [difference.key for difference in differences(owner, "seals")]
    assert tiles == [{"level": 0, "number": 0}, {"level": 1, "number": 0}]
    with projecting(sealed, SEALS):
        await_head(owner, "seals")
        outcome = rebuild(sealed, "seals")
        assert not outcome.switched  # the comparison with the live tree finds it
        assert progress(owner, "seals").state == "running"
        rebuild(sealed, "seals", accept_difference="to see what becomes of it")
        eventually(lambda: progress(owner, "seals").state == "halted")
        assert "has not grown out of" in str(progress(owner, "seals").last_error)
    write_more(sealed, 1)
    with sealed.connect("test") as connection:
        seal(connection, take_keys(connection, []))
    assert signed(owner) == before


def test_a_rebuild_makes_the_same_tree_and_signs_nothing_twice(
    sealed: Database, owner: Connection[Any]
) -> None:
    with projecting(sealed, SEALS):
        await_sealed(owner, len(leaves(sealed)))
        before = count(owner)
        assert rebuild(sealed, "seals").equal
    with sealed.connect("test") as connection:
        seal(connection, take_keys(connection, []))
    assert (count(owner), progress(owner, "seals").state) == (before, "running")
    with projecting(sealed, SEALS):
        write_more(sealed, 2)
        await_sealed(owner, len(leaves(sealed)))
    assert_consistent(owner, leaves(sealed))


def test_a_tree_that_is_not_as_large_as_its_position_says_halts(
    sealed: Database, owner: Connection[Any]
) -> None:
    owner.execute("UPDATE projection_versions SET position = position - 1 WHERE name = 'seals'")
    with sealed.connect("test") as connection:
        size = len(leaves(sealed))
        batch = read_batch(connection, PROJECTION, size - 1, size)
        with pytest.raises(Contradicted):
            advance(connection, Claim(PROJECTION, 1, take(connection), "running"), batch, 0.0, None)
    with projecting(sealed, SEALS):
        eventually(lambda: progress(owner, "seals").state == "halted")


def take(connection: Connection[Any]) -> Any:
    runner = uuid4()
    take_over(connection, Claim(PROJECTION, 1, runner, "running"))
    return runner


SIGNED_FOR_EVER = [
    "UPDATE checkpoints SET note = ''",
    "DELETE FROM checkpoints",
    "TRUNCATE checkpoints",
    "UPDATE signing_keys SET seed = NULL",
    "DELETE FROM signing_keys",
    "TRUNCATE signing_keys",
    "UPDATE installation SET id = gen_random_uuid()",
    "DELETE FROM installation",
    "TRUNCATE installation",
]


@pytest.mark.parametrize("statement", SIGNED_FOR_EVER)
def test_what_was_signed_stays(sealed: Database, owner: Connection[Any], statement: str) -> None:
    with sealed.connect("test") as service:
        seal(service, take_keys(service, []))
        with pytest.raises(errors.InsufficientPrivilege):
            service.execute(statement.encode())
    with pytest.raises(errors.RestrictViolation, match="never changed"):
        owner.execute(statement.encode())


def test_the_database_takes_no_checkpoint_that_contradicts_the_last(sealed: Database) -> None:
    with sealed.connect("test") as service:
        keys = take_keys(service, [])
        seal(service, keys)
        last = signed(service)
        for wrong in (last._replace(size=last.size - 1), last._replace(root=bytes(32))):
            with pytest.raises(errors.RestrictViolation, match="contradicts"):
                keep(service, wrong, wrong.signed(keys.signers))
        keep(service, last, last.signed(keys.signers))


def test_nobody_but_service_and_owner_sees_the_key(database: Database, owner: Connection[Any]) -> None:
    with owner.transaction(force_rollback=True):
        owner.execute("CREATE ROLE curious")
        owner.execute(SQL("GRANT USAGE ON SCHEMA {} TO curious").format(Identifier(database.schema)))
        owner.execute("SET LOCAL ROLE curious")
        with pytest.raises(errors.InsufficientPrivilege), owner.transaction():
            owner.execute("SELECT seed FROM signing_keys")


def verifiers_of(note: str, verifiers: list[Verifier]) -> list[Verifier]:
    """The verifiers of the known keys that signed a note."""
    return [verifier for verifier in verifiers if f"— {verifier.name} " in note and _accepts(verifier, note)]


def _accepts(verifier: Verifier, note: str) -> bool:
    text, _, lines = note.partition("\n\n")
    signatures = [b64decode(line.split(" ")[2]) for line in lines.splitlines()]
    mine = [signature[4:] for signature in signatures if signature[:4] == verifier.key_id]
    return any(verifier.accepts(f"{text}\n", signature) for signature in mine)


def test_keys_are_made_given_and_rotated(sealed: Database, owner: Connection[Any]) -> None:
    one, other = bytes(range(32)), bytes(range(1, 33))

    def signed_with(*seeds: bytes) -> list[bytes]:
        stop = threading.Event()
        sealer = threading.Thread(target=Sealer(sealed, seeds, stop).run)
        before = count(owner)
        sealer.start()
        eventually(lambda: count(owner) > before)  # though nothing was recorded, because the key has changed
        stop.set()
        sealer.join()
        newest = read_newest(owner)
        assert newest is not None
        return [verifier.public_key for verifier in verifiers_of(newest.note, read_verifiers(owner))]

    made = signed_with()
    (given,) = signed_with(one)
    assert sorted(signed_with(other, one)) == sorted([Signer("", other).verifier.public_key, given])
    assert signed_with() == made  # kept and used again
    listed = [verifier.public_key for verifier in read_verifiers(owner)]
    assert listed == [Signer("", other).verifier.public_key, given, *made]
    assert_consistent(owner, leaves(sealed))
    kept = owner.execute("SELECT seed IS NOT NULL FROM signing_keys ORDER BY number").fetchall()
    assert kept == [(True,), (False,), (False,)]  # a given key is not kept
