"""Proofs of single events against a checkpoint, for somebody who does not have the ledger.

The errors distinguish an event that is not in the checkpoint, a checkpoint of another log, and a journal that differs
from the signed one.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.journal.queries import load
from domain.journal.reader import head_of
from domain.transparency.checkpoints import Checkpoint, claimed, open_checkpoint, tidied
from domain.transparency.leaves import leaf_bytes
from domain.transparency.merkle_tree import inclusion_path, leaf_hash, root, verify_inclusion
from domain.transparency.signed_notes import InvalidNote, Verifier
from domain.transparency.tlog_proofs import TlogProof
from projections.engine.live_version import read_live
from projections.engine.projection import Inconsistent
from projections.errors import ProjectionBehind
from projections.read_models.seals import PROJECTION, nodes, standing
from projections.transparency.checkpoints import newest, read_origin, read_verifiers

_SQL = load("projections.exports.export")


class NotProved(Exception):
    """The event cannot be proved. The message says why."""


class NotSealed(NotProved):
    """The event cannot be proved yet, because no checkpoint covers it."""


def prove_event(
    connection: Connection[Any],
    position: int,
    saved: str | None = None,
    verifiers: Sequence[Verifier] = (),
) -> TlogProof:
    """Return the proof that the event at a position is in the journal of a saved checkpoint, or of the newest if None.

    The saved checkpoint must be signed by a key of this installation or of `verifiers`. Raises `NotProved`.
    """

    def prove(cursor: Cursor[TupleRow], version: int) -> TlogProof:
        head = head_of(connection)
        if position > head:
            raise NotProved(f"there is no position {position}: the newest is {head}")
        note = _newest_note(cursor, position) if saved is None else tidied(saved)
        checkpoint = _opened(connection, cursor, note, verifiers)
        _require_covered(position, checkpoint, head)
        size, state = standing(cursor, version)
        if checkpoint.size > size:
            words = f"the tree has reached position {size} of {checkpoint.size}, {state}"
            raise NotSealed(f"{words}: does a projector run?")
        return _proof(cursor, version, position, checkpoint, note)

    try:
        return read_live(connection, PROJECTION, prove).found
    except ProjectionBehind:
        raise NotSealed("there is no tree to read yet: does a projector run?") from None
    except InvalidNote as error:
        raise NotProved(f"the checkpoint: {error}") from None
    except Inconsistent as error:
        raise NotProved(f"the tree is damaged: {error}; see `tallystick doctor`") from None


def _newest_note(cursor: Cursor[TupleRow], position: int) -> str:
    signed = newest(cursor)
    if signed is None or signed.size < position:
        sealed = signed.size if signed else 0
        raise NotSealed(f"position {position} is not sealed yet, only up to {sealed}: does a projector run?")
    return signed.note


def _opened(
    connection: Connection[Any], cursor: Cursor[TupleRow], note: str, verifiers: Sequence[Verifier]
) -> Checkpoint:
    own, origin = read_origin(cursor), claimed(note).origin
    if origin != own and not any(verifier.name == origin for verifier in verifiers):
        raise NotProved(
            f"the checkpoint is of another log, {origin}; this one signs as {own}."
            " If this journal was imported from that log, give its key with --verifier-key"
        )
    return open_checkpoint(note, [*read_verifiers(connection), *verifiers])


def _require_covered(position: int, checkpoint: Checkpoint, head: int) -> None:
    if position > checkpoint.size:
        raise NotProved(
            f"position {position} is beyond the checkpoint, which covers {checkpoint.size} events: give a later one"
        )
    if checkpoint.size > head:
        raise NotProved(
            f"the history was rewritten: the checkpoint covers {checkpoint.size} events, and the journal has {head}"
        )


def _proof(
    cursor: Cursor[TupleRow], version: int, position: int, checkpoint: Checkpoint, note: str
) -> TlogProof:
    node = nodes(cursor, version)
    if root(checkpoint.size, node) != checkpoint.root:
        raise NotProved(
            f"the history was rewritten: the first {checkpoint.size} events are not those that the checkpoint covers"
        )
    rows = _SQL["events"].rows(cursor, {"since": position, "until": position})
    if not rows:
        raise NotProved(f"the history was rewritten: the event at position {position} is missing")
    at, stream, stream_version, topic, state = rows[0]
    leaf = leaf_bytes(at, stream, stream_version, topic, bytes(state))
    path = inclusion_path(position - 1, checkpoint.size, node)
    if not verify_inclusion(leaf_hash(leaf), position - 1, checkpoint.size, checkpoint.root, path):
        raise NotProved(
            f"the history was rewritten: the event at position {position} is not the one that was sealed"
        )
    return TlogProof(leaf, position - 1, path, note)
