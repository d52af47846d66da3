"""Checkpoints in the form of C2SP tlog-checkpoint: the number of leaves in the tree of a journal, and its root.

The origin is `tallystick/` and the id of the installation. The installation's keys have the same name.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from domain.transparency.merkle_tree import HASH_BYTES
from domain.transparency.signed_notes import (
    SIGNATURE_MARK,
    MalformedNote,
    Signer,
    Verifier,
    from_base64,
    sign,
    text_of,
    verified,
)

MAX_SIZE = 2**63 - 1
"""The largest position that a journal can have."""

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """The signed statement: the tree of the first `size` events of an installation's journal has this root."""

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
    """Return the checkpoint of a signed note; raise `InvalidNote`. Lines after the root are ignored."""
    return _checkpoint(verified(note, verifiers))


def claimed(note: str) -> Checkpoint:
    """Return the checkpoint that a note states, without checking signatures; raise `MalformedNote`."""
    return _checkpoint(text_of(note))


def _checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < 4 or not _SIZE.fullmatch(lines[1]) or int(lines[1]) > MAX_SIZE:
        raise MalformedNote("this note is no checkpoint: origin, size and root hash are not its first lines")
    root = from_base64(lines[2])
    if not lines[0] or len(root) != HASH_BYTES:
        raise MalformedNote("this note is no checkpoint: origin, size and root hash are not its first lines")
    return Checkpoint(lines[0], int(lines[1]), root)


def tidied(text: str) -> str:
    """Return a checkpoint's note that was saved, pasted or mailed, in the form in which it was signed.

    Foreign line ends, blank lines and blanks at the ends of lines are removed: no line of a checkpoint is empty or ends
    with a blank. The signature then decides whether the note is right. Raises `MalformedNote`.
    """
    lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
    lines = [line for line in lines if line]
    if "\N{REPLACEMENT CHARACTER}" in text:
        raise MalformedNote("it is not text in UTF-8")
    if not lines:
        raise MalformedNote("there is nothing in it")
    first = next((n for n, line in enumerate(lines) if line.startswith(SIGNATURE_MARK)), None)
    if first is None:
        raise MalformedNote(
            f"it has no line of a signature, which begins with “—”; it begins with “{lines[0][:40]}”"
        )
    if first == 0:
        raise MalformedNote("it has signatures, and not what they are of")
    after = lines[first:]
    if any(not line.startswith(SIGNATURE_MARK) for line in after):
        is_last = not after[-1].startswith(SIGNATURE_MARK)
        raise MalformedNote(
            "there is text after its signatures"
            if is_last
            else "it has several notes: give one, in a file of its own"
        )
    return "\n".join([*lines[:first], "", *after, ""])
