"""The sealer: signs a checkpoint of the journal's tree when it has grown, at most once a second.

Before it signs, it proves that the tree has grown out of the one it signed last. If that fails, or if the last
checkpoint is not as it was signed, somebody changed the journal, the tree or the checkpoints. Then nothing more is
signed, and the projection `seals` halts with the reason. If an operator resumes it, the proof is tried again.

With a synchronous standby, it signs only what the standby has. A checkpoint that was told to somebody cannot be taken
back, and after a failover the journal would have other events below it.

Any number of projectors may run. One of them holds the place to sign.
"""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.journal.database import Database
from domain.journal.session import confirm
from domain.transparency.checkpoints import Checkpoint, open_checkpoint
from domain.transparency.merkle_tree import consistency_path, root, verify_consistency
from domain.transparency.signed_notes import InvalidNote, Signer, Verifier
from projections.engine.leadership import Loop
from projections.engine.live_version import read_live
from projections.engine.projection import Inconsistent
from projections.errors import ProjectionBehind
from projections.read_models.seals import PROJECTION, nodes, standing
from projections.transparency.checkpoints import Keys, Signed, halt, keep, newest, take_keys

SEAL_EVERY_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class TreeState(NamedTuple):
    """The state of the tree: its version, and its size in events.

    `root` is the root to sign, None if there is nothing to sign. `contradiction` says what is wrong, None if nothing.
    """

    version: int
    size: int
    root: bytes | None = None
    contradiction: str | None = None


class Sealer:
    """Signs for as long as it holds the place."""

    def __init__(self, database: Database, seeds: Sequence[bytes], stop: threading.Event) -> None:
        """`seeds` are those of the keys to sign with, the present one first. Without any, a key is made and stored."""
        self._loop = Loop(
            database, "sealer", ("sealing", PROJECTION.name), pause_seconds=lambda _: SEAL_EVERY_SECONDS
        )
        self._seeds = seeds
        self._stop = stop

    def run(self) -> None:
        """Run until stopped. After a failure start again."""
        self._loop.run(self._stop, self._serve)

    def _serve(self, connection: Connection[Any]) -> None:
        keys = take_keys(connection, self._seeds)
        known: tuple[int, int] | None = None
        while not self._stop.is_set():
            found = seal(connection, keys, known)
            known = found and (found.version, found.size)
            self._stop.wait(SEAL_EVERY_SECONDS)


def seal(connection: Connection[Any], keys: Keys, known: tuple[int, int] | None = None) -> TreeState | None:
    """Sign a checkpoint of the tree if it has grown, store it, and return the state of the tree.

    None if there is no tree that this release can read, or if it is halted now. A version and size in `known` are
    sealed already and not read again. Only the holder of the place to sign may call this.
    """
    try:
        found = read_live(
            connection, PROJECTION, lambda cursor, version: _look(cursor, version, keys, known)
        ).found
    except ProjectionBehind:
        return None
    if found.contradiction is not None:
        _log.error("seals halted", size=found.size, reason=found.contradiction)
        halt(connection, found.version, found.contradiction)
        return None
    if found.root is not None:
        confirm(connection)
        checkpoint = Checkpoint(keys.signers[0].name, found.size, found.root)
        keep(connection, checkpoint, checkpoint.signed(keys.signers))
    return found


def _look(cursor: Cursor[TupleRow], version: int, keys: Keys, known: tuple[int, int] | None) -> TreeState:
    size, state = standing(cursor, version)
    signed = newest(cursor)
    # A halted tree stays halted until it is resumed. A tree smaller than the signed one is still growing towards it.
    if state == "halted" or (version, size) == known or (signed and size < signed.size):
        return TreeState(version, size)
    try:
        found = _proved_root(cursor, version, size, signed, keys.verifiers)
    except (InvalidNote, Inconsistent) as error:
        return TreeState(version, size, contradiction=str(error))
    is_sealed = signed is not None and size == signed.size and _is_signed_by(signed, keys.signers[0])
    return TreeState(version, size, None if is_sealed else found)


def _proved_root(
    cursor: Cursor[TupleRow], version: int, size: int, signed: Signed | None, verifiers: Sequence[Verifier]
) -> bytes:
    """Return the root of the tree, after proving that the tree has grown out of the one signed last."""
    node = nodes(cursor, version)
    found = root(size, node)
    if signed is not None:
        before = open_checkpoint(signed.note, verifiers)
        path = consistency_path(before.size, size, node)
        if not verify_consistency(before.size, size, before.root, found, path):
            raise Inconsistent(
                f"the tree of {size} events has not grown out of the one of {before.size} events that was signed:"
                " events, tree or checkpoints were changed"
            )
    return found


def _is_signed_by(signed: Signed, signer: Signer) -> bool:
    try:
        open_checkpoint(signed.note, [signer.verifier])
    except InvalidNote:
        return False
    return True
