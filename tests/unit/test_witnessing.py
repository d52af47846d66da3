"""Witnessing: what is believed of another log, what is disputed, and what is recorded of either."""

from base64 import b64decode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from domain.model.events import Envelope, Event, Recorded
from domain.model.installation.checkpoints import (
    CheckpointDisputed,
    CheckpointDisputeSettled,
    CheckpointWitnessed,
    WitnessedLog,
    is_witness_name,
)
from domain.model.registry import evolve
from domain.model.streams import witnessed_stream
from domain.transparency.checkpoints import Checkpoint
from domain.transparency.cosignatures import cosignature, cosigned_at
from domain.transparency.merkle_tree import consistency_path, folded, leaf_hash, root
from domain.transparency.signed_notes import InvalidNote, Signer, Verifier, signers_of, text_of
from projections.audit.stored import Stored
from projections.audit.witnessed_rules import WitnessedRules
from projections.witnessing import testimony
from projections.witnessing.judgement import (
    MAX_UNRECORDED_EVENTS,
    Judged,
    NotWitnessed,
    Path,
    Shown,
    judge,
)
from projections.witnessing.settlement import _settled

ORIGIN = "tallystick/west"
OLD, NEW, FOREIGN = (Signer(ORIGIN, bytes([number]) * 32) for number in (1, 2, 3))


class Log:
    """A log of another installation, with leaves of its own choice."""

    def __init__(self, size: int, rewritten: int | None = None, origin: str = ORIGIN) -> None:
        self.origin = origin
        self._leaves = [leaf_hash(b"%d" % number) for number in range(size)]
        if rewritten is not None:
            self._leaves[rewritten - 1] = leaf_hash(b"rewritten")

    def _node(self, level: int, index: int) -> bytes:
        return folded(self._leaves[index << level : (index + 1) << level])

    def shown(self, size: int, *signers: Signer, own_size: int | None = None) -> Shown:
        signers = signers or (OLD,)
        checkpoint = Checkpoint(self.origin, size, root(size, self._node))
        stated = [signer.verifier for signer in signers]
        return Shown(checkpoint.signed(signers), stated, own_size)

    def path(self, first: int, second: int) -> list[bytes]:
        smaller, larger = sorted((first, second))
        return consistency_path(smaller, larger, self._node)


class Journal:
    """What an installation has recorded of a log, judged by the audit too."""

    def __init__(self) -> None:
        self.log: WitnessedLog | None = None
        self.events: list[Stored] = []
        self.violations: list[str] = []
        self._rules = WitnessedRules()

    def record(self, event: Event) -> None:
        version, stream = len(self.events) + 1, witnessed_stream("west")
        envelope = Envelope(f"2026-12-01T00:00:{version:02}.000000Z", "tallystick", "c", "c", None, None)
        self.log = evolve(self.log, Recorded(stream, version, version, envelope, event))
        data = msgspec.to_builtins(event)
        stored = Stored(stream, version, event.TOPIC, version, msgspec.to_builtins(envelope), data)
        self.violations += [violation.code for violation in self._rules.judge(stored)]
        self.events.append(stored)

    def look(self, log: Log, shown: Shown, configured: Sequence[Verifier] = ()) -> Judged | None:
        before = self.log.size if self.log else 0
        path: Path
        try:
            path = log.path(before, shown.checkpoint.size)
        except (IndexError, ValueError):
            path = None  # the log has not so many events
        judged = judge(self.log, shown, path, configured)
        if judged is not None:
            self.record(judged)
        return judged


def witnessed(size: int = 20) -> Journal:
    journal = Journal()
    assert journal.look(Log(size), Log(size).shown(size))
    return journal


def test_the_first_checkpoint_is_trusted_on_first_use_and_says_so() -> None:
    journal = Journal()
    event = journal.look(Log(20), Log(20).shown(20))
    assert isinstance(event, CheckpointWitnessed)
    assert (event.size, event.grown_from, event.basis) == (20, 0, "first_use")
    assert event.verifiers == (str(OLD.verifier),)
    assert event.note == Log(20).shown(20).note


def test_a_configured_key_must_have_signed_the_first() -> None:
    event = judge(None, Log(20).shown(20), [], [OLD.verifier])
    assert isinstance(event, CheckpointWitnessed) and event.basis == "configured"
    with pytest.raises(NotWitnessed, match="configured key"):
        judge(None, Log(20).shown(20), [], [NEW.verifier])


def test_nothing_is_recorded_of_an_empty_log() -> None:
    assert judge(None, Log(1).shown(0), []) is None


@given(first=st.integers(1, 300), second=st.integers(1, 300))
def test_whatever_has_grown_is_recorded_and_nothing_else(first: int, second: int) -> None:
    log, journal = Log(300), witnessed(1)
    for size in (first, second):
        known = journal.log
        assert known is not None
        event = journal.look(log, log.shown(size))
        assert isinstance(event, CheckpointWitnessed) == (size > known.size)
        if event is not None:
            assert isinstance(event, CheckpointWitnessed)
            assert (event.grown_from, event.size, event.basis) == (known.size, size, "grown")
    assert journal.violations == []


@given(size=st.integers(2, 200), growth=st.integers(0, 100), data=st.data())
def test_a_rewritten_event_is_found_at_every_size(size: int, growth: int, data: Any) -> None:
    rewritten = data.draw(st.integers(1, size))
    journal, fork = witnessed(size), Log(size + growth, rewritten)
    event = journal.look(fork, fork.shown(size + growth))
    assert isinstance(event, CheckpointDisputed)
    assert event.contradiction == ("fork" if growth else "another_root")
    assert (event.note, event.disputed) == (Log(size).shown(size).note, fork.shown(size + growth).note)
    assert journal.log is not None and journal.log.dispute == event
    assert (journal.log.size, journal.violations) == (size, [])


def test_an_older_checkpoint_shown_again_is_no_dispute() -> None:
    journal = witnessed(20)
    assert journal.look(Log(20), Log(20).shown(7)) is None
    assert len(journal.events) == 1


@pytest.mark.parametrize("log", [Log(7), Log(7, rewritten=3), Log(20, rewritten=3)])
def test_a_smaller_tree_that_is_not_proved_to_be_the_beginning_is_disputed(log: Log) -> None:
    event = witnessed(20).look(log, log.shown(7))
    assert isinstance(event, CheckpointDisputed) and event.contradiction == "smaller"


def test_another_key_and_another_log_are_disputed() -> None:
    log = Log(30)
    event = witnessed(20).look(log, log.shown(30, FOREIGN))
    assert isinstance(event, CheckpointDisputed) and event.contradiction == "another_key"
    other = Log(30, origin="tallystick/east")
    event = witnessed(20).look(other, other.shown(30, Signer("tallystick/east", OLD.seed)))
    assert isinstance(event, CheckpointDisputed) and event.contradiction == "another_log"


def test_a_spoiled_note_is_neither_believed_nor_evidence() -> None:
    shown = Log(30).shown(30)
    for note in (shown.note.replace("\n30\n", "\n31\n"), "nothing", shown.note.replace("—", "-")):
        with pytest.raises(NotWitnessed):
            witnessed(20).look(Log(31), shown._replace(note=note))


def test_without_a_proof_nothing_is_said_of_a_larger_tree() -> None:
    journal = witnessed(20)
    with pytest.raises(NotWitnessed, match="no proof from 20 to 30"):
        judge(journal.log, Log(30).shown(30), None)


def test_a_rotated_key_is_followed_if_both_sign_and_the_old_one_ends_with_it() -> None:
    log, journal = Log(60), witnessed(20)
    both = journal.look(log, log.shown(30, NEW, OLD))
    assert isinstance(both, CheckpointWitnessed) and both.basis == "rotated"
    assert set(both.verifiers) == {str(NEW.verifier), str(OLD.verifier)}
    after = journal.look(log, log.shown(40, NEW))
    assert isinstance(after, CheckpointWitnessed) and after.basis == "grown"
    assert after.verifiers == (str(NEW.verifier),)
    retired = journal.look(log, log.shown(50, OLD))
    assert isinstance(retired, CheckpointDisputed) and retired.contradiction == "another_key"
    assert journal.violations == []


def test_a_key_is_not_followed_beside_a_configured_one_until_it_is_configured() -> None:
    """Whoever is between the log and its witness can add a signature to a note, and state its key."""
    log, journal = Log(60), witnessed(20)
    added = journal.look(log, log.shown(30, OLD, FOREIGN), [OLD.verifier])
    assert isinstance(added, CheckpointWitnessed)
    assert (added.basis, added.verifiers) == ("grown", (str(OLD.verifier),))
    followed = journal.look(log, log.shown(40, OLD, NEW), [NEW.verifier])
    assert isinstance(followed, CheckpointWitnessed)
    assert (followed.basis, followed.verifiers) == ("rotated", (str(NEW.verifier),))
    foreign = journal.look(log, log.shown(50, FOREIGN), [NEW.verifier])
    assert isinstance(foreign, CheckpointDisputed) and foreign.contradiction == "another_key"
    assert journal.violations == []


def test_a_rotation_without_growth_is_recorded_once() -> None:
    log, journal = Log(20), witnessed(20)
    assert journal.look(log, log.shown(20, NEW, OLD, own_size=20)) is not None
    assert journal.look(log, log.shown(20, NEW, OLD, own_size=20)) is None
    assert journal.look(log, log.shown(20, NEW, own_size=20)) is None


def test_a_log_that_grows_by_records_of_witnessing_alone_is_left_at_rest() -> None:
    log, journal = Log(20 + MAX_UNRECORDED_EVENTS), witnessed(20)
    assert journal.look(log, log.shown(25, own_size=20)) is None
    assert journal.look(log, log.shown(25, own_size=24)) is not None
    # One that says so for ever is recorded all the same, some time.
    size = 20 + MAX_UNRECORDED_EVENTS
    assert witnessed(20).look(log, log.shown(size - 1, own_size=0)) is None
    assert witnessed(20).look(log, log.shown(size, own_size=0)) is not None


def test_a_fork_is_found_although_nothing_would_be_recorded() -> None:
    fork = Log(25, rewritten=3)
    event = witnessed(20).look(fork, fork.shown(25, own_size=20))
    assert isinstance(event, CheckpointDisputed) and event.contradiction == "fork"


@pytest.mark.parametrize("decision", ["kept", "accepted"])
def test_after_a_decision_the_log_goes_on_from_what_was_decided(decision: Any) -> None:
    journal, fork = witnessed(20), Log(40, rewritten=3)
    journal.look(fork, fork.shown(30))
    assert journal.log is not None
    settled = _settled(journal.log, decision, "restored from a backup")
    assert isinstance(settled, CheckpointDisputeSettled)
    journal.record(settled)
    assert journal.log.dispute is None
    is_accepted = decision == "accepted"
    assert journal.log.size == (30 if is_accepted else 20)
    good, bad = (fork, Log(40)) if is_accepted else (Log(40), fork)
    assert isinstance(journal.look(good, good.shown(35)), CheckpointWitnessed)
    assert isinstance(journal.look(bad, bad.shown(40)), CheckpointDisputed)
    assert journal.violations == []
    said = [each.size for each in testimony.testimonies(journal.events, [ORIGIN])]
    assert said == ([30, 35] if is_accepted else [20, 20, 35])
    assert testimony.testimonies(journal.events, ["tallystick/other"]) == []


@pytest.mark.parametrize(
    "forged",
    [{"size": 30}, {"root": "00" * 32}, {"note": "none"}, {"note": Log(10).shown(10).note}],
    ids=["size", "root", "no note", "another note"],
)
def test_an_event_that_says_something_else_than_its_note_is_no_testimony(forged: dict[str, Any]) -> None:
    (event,) = witnessed(20).events
    with pytest.raises(ValueError, match="position 1"):
        testimony.testimonies([event._replace(data={**event.data, **forged})], [ORIGIN])


def test_a_note_that_no_stated_key_signed_cannot_be_accepted() -> None:
    journal = witnessed(20)
    journal.look(Log(30), Log(30).shown(30, FOREIGN)._replace(verifiers=[OLD.verifier]))
    assert journal.log is not None
    with pytest.raises(NotWitnessed):
        _settled(journal.log, "accepted", "because")


def test_the_audit_finds_records_that_do_not_follow() -> None:
    log, journal = Log(60), witnessed(20)
    event = judge(journal.log, log.shown(30), log.path(20, 30))
    assert isinstance(event, CheckpointWitnessed)
    for wrong in (
        msgspec.structs.replace(event, grown_from=10),
        msgspec.structs.replace(event, size=31),
        msgspec.structs.replace(event, origin="tallystick/east"),
    ):
        other = witnessed(20)
        other.record(wrong)
        assert other.violations == ["checkpoint_unmatched"]
    fork = Log(30, rewritten=3)
    journal.look(fork, fork.shown(30))
    journal.record(event)
    assert journal.violations == ["checkpoint_unmatched"]


def test_a_cosignature_is_one_of_its_time_and_text_alone() -> None:
    text = text_of(Log(20).shown(20).note)
    line = cosignature(NEW, text, 1_790_000_000)
    assert cosigned_at(line, text, NEW.verifier) == 1_790_000_000
    for text_, verifier in ((text + "x\n", NEW.verifier), (text, OLD.verifier)):
        with pytest.raises(InvalidNote):
            cosigned_at(line, text_, verifier)
    # It is a signature line like others, and does not disturb those who look for the log's own.
    note = Log(20).shown(20).note + line
    assert signers_of(note, [OLD.verifier, NEW.verifier]) == (OLD.verifier,)


def test_a_cosignature_has_the_form_of_c2sp() -> None:
    name, _, encoded = cosignature(NEW, "text\n", 0x641850CB).removeprefix("— ").partition(" ")
    signed, public_key = b64decode(encoded), NEW.verifier.public_key
    assert (name, len(signed)) == (ORIGIN, 4 + 8 + 64)
    assert signed[:4] == sha256(f"{ORIGIN}\n".encode() + b"\x04" + public_key).digest()[:4]
    assert signed[4:12].hex() == "00000000641850cb"
    message = b"cosignature/v1\ntime 1679315147\ntext\n"
    Ed25519PublicKey.from_public_bytes(public_key).verify(signed[12:], message)


@pytest.mark.parametrize("name", ["west", "w", "a-1", "a" * 32])
def test_names_of_witnessed_installations(name: str) -> None:
    assert is_witness_name(name) and not is_witness_name(name.upper())
    assert not is_witness_name(f"{name}\n") and not is_witness_name("a" * 33)
