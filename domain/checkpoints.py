"""Checkpoints, as C2SP tlog-checkpoint has them: how many leaves the tree of a journal has, and its root.

The origin is `tallystick/` and the id of the installation; its keys have the same name.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from domain.merkle import HASH_BYTES
from domain.signed_notes import InvalidNote, Signer, Verifier, from_base64, sign, verified

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """What is signed: the tree of the first `size` events of the journal of an installation has this root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text of the note."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    def signed(self, signers: Iterable[Signer]) -> str:
        """Return the signed note."""
        return sign(self.text, signers)


def origin_of(installation: object) -> str:
    """Return the origin, given the id of an installation."""
    return f"tallystick/{installation}"


def open_checkpoint(note: str, verifiers: Sequence[Verifier]) -> Checkpoint:
    """Return the checkpoint of a signed note; raise `InvalidNote`. Lines after the root are passed over."""
    lines = verified(note, verifiers).split("\n")
    if len(lines) < 4 or not _SIZE.fullmatch(lines[1]):
        raise InvalidNote("this note is no checkpoint")
    root = from_base64(lines[2])
    if not lines[0] or len(root) != HASH_BYTES:
        raise InvalidNote("this note is no checkpoint")
    return Checkpoint(lines[0], int(lines[1]), root)
