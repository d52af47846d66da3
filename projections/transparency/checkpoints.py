"""The signed checkpoints, and the keys that signed them.

They are stored apart from the tree (`projections/read_models/seals.py`), since they do not follow from the journal: a
checkpoint records what was once told to the outside. None is ever changed or deleted; 0009_audit.sql enforces that.
"""

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow, tuple_row

from domain.journal.queries import load
from domain.model.times import Instant, instant
from domain.transparency.checkpoints import Checkpoint, origin_of
from domain.transparency.signed_notes import SEED_BYTES, Signer, Verifier
from projections.engine.projection import directed
from projections.errors import CheckpointNotFound

_SQL = load(__name__)


class Signed(NamedTuple):
    """A signed checkpoint: its note, and its size."""

    size: int
    note: str


class Past(NamedTuple):
    """A checkpoint that was signed: its size, root and note, and when it was stored. `number` counts checkpoints."""

    size: int
    root: bytes
    note: str
    signed_at: Instant
    number: int


class Keys(NamedTuple):
    """The keys that sign, and the verifiers of all keys that ever signed, the newest first."""

    signers: tuple[Signer, ...]
    verifiers: tuple[Verifier, ...]


def newest(cursor: Cursor[TupleRow]) -> Signed | None:
    """Return the checkpoint that was signed last, None if there is none."""
    row = _SQL["newest"].row(cursor, prepare=True)
    return None if row is None else Signed(*row)


def read_newest(connection: Connection[Any]) -> Signed | None:
    """Return the checkpoint that was signed last, None if there is none."""
    return newest(connection.cursor(row_factory=tuple_row))


def read_of_size(connection: Connection[Any], size: int) -> Past:
    """Return the checkpoint signed last for the tree of a size. Raises `CheckpointNotFound`."""
    row = _SQL["of_size"].row(connection, {"size": size})
    if row is None:
        raise CheckpointNotFound
    return _past(row)


def list_checkpoints(
    connection: Connection[Any],
    *,
    since: Instant | None = None,
    until: Instant | None = None,
    after: tuple[Instant, int] | None = None,
    limit: int,
    descending: bool = False,
) -> list[Past]:
    """Return up to `limit` checkpoints in the order in which they were signed, after the time and number `after`.

    `since` is included and `until` is not. None is unlimited.
    """
    after_time, after_number = after or (None, None)
    wanted = {
        "since": since,
        "until": until,
        "after_time": after_time,
        "after_number": after_number,
        "limit": limit,
    }
    query = directed(_SQL["list"], descending=descending)
    return [_past(row) for row in query.rows(connection, wanted, prepare=False)]


def _past(row: TupleRow) -> Past:
    size, root, note, signed_at, number = row
    return Past(size, bytes(root), note, instant(signed_at), number)


def read_verifiers(connection: Connection[Any]) -> list[Verifier]:
    """Return the verifiers of all keys that ever signed, the newest first."""
    cursor = connection.cursor(row_factory=tuple_row)
    origin = read_origin(cursor)
    return [Verifier(origin, bytes(public_key)) for public_key, _ in _SQL["keys"].rows(cursor)]


def read_origin(cursor: Cursor[TupleRow]) -> str:
    """Return the name under which this installation signs."""
    row = _SQL["installation"].only(cursor)
    return origin_of(row[0])


def take_keys(connection: Connection[Any], seeds: Sequence[bytes]) -> Keys:
    """Return the keys to sign with: those of the given seeds, or else the newest made here, or else a new one.

    They are added to the keys that ever signed.
    """
    cursor = connection.cursor(row_factory=tuple_row)
    origin = read_origin(cursor)
    if seeds:
        for seed in reversed(seeds):
            _add_key(cursor, Signer(origin, seed), None)
    else:
        made = [bytes(seed) for _, seed in _SQL["keys"].rows(cursor) if seed]
        seeds = made[:1] or [secrets.token_bytes(SEED_BYTES)]
        _add_key(cursor, Signer(origin, seeds[0]), seeds[0])
    return Keys(tuple(Signer(origin, seed) for seed in seeds), tuple(read_verifiers(connection)))


def _add_key(cursor: Cursor[TupleRow], signer: Signer, seed: bytes | None) -> None:
    _SQL["add_key"].run(cursor, {"public_key": signer.verifier.public_key, "seed": seed})


def keep(connection: Connection[Any], checkpoint: Checkpoint, note: str) -> None:
    """Store a signed checkpoint. Raises `psycopg.errors.RestrictViolation` if it contradicts the one before."""
    _SQL["keep"].run(connection, {"size": checkpoint.size, "root": checkpoint.root, "note": note})


def halt(connection: Connection[Any], version: int, reason: str) -> None:
    """Halt a version of the tree with a reason, until an operator resumes it."""
    _SQL["halt"].run(connection, {"version": version, "reason": reason})
