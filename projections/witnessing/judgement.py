"""Judges a checkpoint that another log shows, by what was witnessed of it before. Pure: no I/O and no clock.

A log may show an older checkpoint again, from a cache or a standby, if its tree is the beginning of the witnessed one.
Everything else that does not follow is a dispute, and both notes are kept: two that a log signed and that contradict
each other prove that it rewrote its past.
"""

from collections.abc import Sequence
from typing import NamedTuple

from domain.model.installation.checkpoints import (
    Basis,
    CheckpointDisputed,
    CheckpointWitnessed,
    Contradiction,
    WitnessedLog,
)
from domain.transparency.checkpoints import Checkpoint, claimed
from domain.transparency.merkle_tree import verify_consistency
from domain.transparency.signed_notes import InvalidNote, Verifier, signers_of

MAX_UNRECORDED_EVENTS = 1000
"""By how many records of witnessing a log may grow before a checkpoint of it is recorded again."""

MAX_NOTE_BYTES = 8 * 1024
MAX_STATED_KEYS = 1000
"""What a log shows is recorded, so it must not be long."""


class NotWitnessed(Exception):
    """A checkpoint can be neither believed nor disputed. The message says why."""


class Shown(NamedTuple):
    """What a log shows: its newest checkpoint as a signed note, and the keys that it states to be its own.

    `own_size` is the newest position of an event other than a record of witnessing, None if the log does not say.
    """

    note: str
    verifiers: Sequence[Verifier]
    own_size: int | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that the note states. Raises `NotWitnessed` if it states none."""
        try:
            return claimed(self.note)
        except InvalidNote as error:
            raise NotWitnessed(f"its note: {error}") from error


Path = Sequence[bytes] | None
"""The proof that the smaller of two trees is the beginning of the larger. None if the log does not have both."""

Judged = CheckpointWitnessed | CheckpointDisputed
"""The event that follows from a look."""


def judge(
    log: WitnessedLog | None, shown: Shown, path: Path, configured: Sequence[Verifier] = ()
) -> Judged | None:
    """Return the event to record about what a log shows, None if it says nothing new.

    `path` is between the tree that was witnessed last and the one shown. If there are `configured` keys, which the
    operator trusts, no others count. Raises `NotWitnessed`.
    """
    if len(shown.note.encode()) > MAX_NOTE_BYTES or len(shown.verifiers) > MAX_STATED_KEYS:
        raise NotWitnessed("its note or the list of its keys is too long")
    if log is None:
        return _first(shown, configured)
    checkpoint, before = shown.checkpoint, _before(log)
    if checkpoint.origin != log.origin:
        return _disputed(log, shown, "another_log")
    known = configured or [*map(Verifier.parse, log.verifiers)]
    if not _signers(shown, known):
        return _disputed(log, shown, "another_key")
    if checkpoint.size == before.size:
        if checkpoint.root != before.root:
            return _disputed(log, shown, "another_root")
    elif checkpoint.size < before.size:
        if path is None or not _leads(checkpoint, before, path):
            return _disputed(log, shown, "smaller")
        return None
    elif path is None:
        raise NotWitnessed(f"it gives no proof from {before.size} to {checkpoint.size} events")
    elif not _leads(before, checkpoint, path):
        return _disputed(log, shown, "fork")
    # Whoever passes a note on can sign it too, so where keys are configured, no other is followed.
    signers = _signers(shown, configured or [*known, *shown.verifiers])
    has_new_key = not {str(signer) for signer in signers} <= set(log.verifiers)
    if not has_new_key and not _has_grown(log, checkpoint, shown.own_size):
        return None
    return _witnessed(checkpoint, shown, signers, before.size, "rotated" if has_new_key else "grown")


def disputed_checkpoint(dispute: CheckpointDisputed) -> tuple[Checkpoint, tuple[Verifier, ...]]:
    """Return the checkpoint that is disputed, and the keys stated with it that signed it.

    Raises `NotWitnessed` if none of them did: such a note cannot be accepted.
    """
    shown = Shown(dispute.disputed, [Verifier.parse(vkey) for vkey in dispute.stated_verifiers])
    signers = _signers(shown, shown.verifiers)
    if not signers:
        raise NotWitnessed("no key that the log stated signed the disputed checkpoint")
    return shown.checkpoint, signers


def _first(shown: Shown, configured: Sequence[Verifier]) -> CheckpointWitnessed | None:
    """Return the first event of a log, None while it is empty. A configured key must have signed, if there is one."""
    checkpoint = shown.checkpoint
    signers = _signers(shown, configured or shown.verifiers)
    if not signers:
        raise NotWitnessed(
            "the configured key did not sign its checkpoint"
            if configured
            else "no key that it states signed its checkpoint"
        )
    if not checkpoint.size:
        return None
    return _witnessed(checkpoint, shown, signers, 0, "configured" if configured else "first_use")


def _before(log: WitnessedLog) -> Checkpoint:
    return Checkpoint(log.origin, log.size, log.root)


def _signers(shown: Shown, known: Sequence[Verifier]) -> tuple[Verifier, ...]:
    try:
        return signers_of(shown.note, known)
    except InvalidNote as error:
        # Anybody on the way can spoil a signature, so this is no evidence against the log.
        raise NotWitnessed(f"its checkpoint: {error}") from error


def _leads(first: Checkpoint, second: Checkpoint, path: Sequence[bytes]) -> bool:
    return verify_consistency(first.size, second.size, first.root, second.root, path)


def _has_grown(log: WitnessedLog, checkpoint: Checkpoint, own_size: int | None) -> bool:
    """Tell whether the log has recorded anything else than what it witnessed itself, or very much of that.

    Two installations that witness each other would otherwise record each other's records for ever.
    """
    growth = checkpoint.size - log.size
    if own_size is None or growth >= MAX_UNRECORDED_EVENTS:
        return growth > 0
    return log.size < min(own_size, checkpoint.size)


def _witnessed(
    checkpoint: Checkpoint, shown: Shown, signers: Sequence[Verifier], grown_from: int, basis: Basis
) -> CheckpointWitnessed:
    return CheckpointWitnessed(
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        note=shown.note,
        verifiers=tuple(map(str, signers)),
        grown_from=grown_from,
        basis=basis,
        cosignature="",
    )


def _disputed(log: WitnessedLog, shown: Shown, contradiction: Contradiction) -> CheckpointDisputed:
    return CheckpointDisputed(
        origin=log.origin,
        size=log.size,
        root=log.root.hex(),
        note=log.note,
        verifiers=log.verifiers,
        contradiction=contradiction,
        disputed=shown.note,
        stated_verifiers=tuple(map(str, shown.verifiers)),
    )
