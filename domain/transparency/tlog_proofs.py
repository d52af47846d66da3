"""Proofs that an event is in the journal, as text that is checked without the ledger: C2SP tlog-proof.

    c2sp.org/tlog-proof@v1
    extra BASE64            the leaf: `{"position":21,"stream":…,"version":…,"type":…,"event":{…}}` (leaves.py)
    index 20                position − 1
    BASE64                  the hashes of the path (RFC 9162 §2.1.3), beginning with the leaf's sibling
    …

    tallystick/…            the checkpoint, a signed note
    22
    BASE64
    (an empty line)
    — tallystick/… BASE64

The leaf's hash and the path must lead to the root of the checkpoint, and a known key must have signed the checkpoint.
Nobody signs the extra line itself: it is trusted because its hash is in the tree.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

from domain.transparency.merkle_tree import HASH_BYTES
from domain.transparency.signed_notes import MalformedNote, from_base64

HEADER = "c2sp.org/tlog-proof@v1"

_POSITION = re.compile(rb'{"position":([1-9][0-9]{0,18}),"stream":')
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


class MalformedProof(Exception):
    """The text is no proof of this form. The message says what is wrong."""


class TlogProof(NamedTuple):
    """A proof: the leaf, its index from 0, the path to the root, and the note of the checkpoint."""

    leaf: bytes
    leaf_index: int
    path: Sequence[bytes]
    note: str

    @property
    def text(self) -> str:
        """The proof as text."""
        path = "".join(f"{_base64(node)}\n" for node in self.path)
        return f"{HEADER}\nextra {_base64(self.leaf)}\nindex {self.leaf_index}\n{path}\n{self.note}"


def read_proof(text: str) -> TlogProof:
    """Return the proof in a text; raise `MalformedProof`. Line ends may be those of any system."""
    head, separator, note = text.removeprefix("\ufeff").replace("\r\n", "\n").partition("\n\n")
    header, *lines = head.split("\n")
    if header != HEADER:
        raise MalformedProof(f"it does not begin with {HEADER}")
    if not separator:
        raise MalformedProof("it has no checkpoint after an empty line")
    if len(lines) < 2 or not lines[0].startswith("extra ") or not (index := _INDEX.fullmatch(lines[1])):
        raise MalformedProof("after its first line it must have the lines “extra …” and “index …”")
    path = [_decoded(line, "path") for line in lines[2:]]
    if any(len(node) != HASH_BYTES for node in path):
        raise MalformedProof("a line of the path is no hash of SHA-256")
    return TlogProof(_decoded(lines[0].removeprefix("extra "), "leaf"), int(index[1]), path, note)


def position_of(leaf: bytes) -> int:
    """Return the position that a leaf states; raise `MalformedProof`."""
    found = _POSITION.match(leaf)
    if found is None:
        raise MalformedProof("the leaf is no event with its position")
    return int(found[1])


def _decoded(encoded: str, name: str) -> bytes:
    try:
        return from_base64(encoded)
    except MalformedNote:
        raise MalformedProof(f"a line of the {name} is not base64") from None


def _base64(value: bytes) -> str:
    return b64encode(value).decode()
