"""Exports: the journal as lines of JSON, complete, and verifiable without a database.

    {"export":"tallystick/1","from":1,"to":26,"peaks":[]}
    {"position":1,"stream":"main/ledger","version":1,"type":"ledger.opened","event":{…},"leaf_hash":"…"}
    …
    {"end":26,"root":"…"}
    {"checkpoint":"…","path":[],"verifiers":["…"],"head":26}

The line of an event is its leaf in the tree of the journal (leaves.py), byte for byte, with the leaf hash that was
sealed inserted before the last brace. To verify the event, remove the hash and hash the rest. `peaks` are the peaks of
the tree of all events before `from`, so that the root can also be computed from a part of the journal. All lines but
the last follow from the journal alone. The last line has the signed checkpoint, and, if the checkpoint is of a larger
tree than the first `to` events, the path to that tree. If `head`, the newest position at the time, is beyond `to`, the
export may end between the events of one command. If a ledger has arrived from another installation, `shown` says where
its positions are shown, in ranges `[position, shown, recorded]` (domain/journal/shown_positions.py). The `causation_id`
of the ledger's `ledger.arrived` has a digest of the ranges before it: `shown-positions/` and the SHA-256, in hex, of a
line `position shown recorded` for each.

Stored bytes that are not one JSON value in one line, which no release writes, are exported under `event_base64`.
"""

from base64 import b64decode, b64encode
from itertools import pairwise
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

from domain.transparency.leaves import leaf_bytes
from domain.transparency.merkle_tree import leaf_hash

FORMAT = "tallystick/1"

_SUFFIX_BYTES = len(b',"leaf_hash":"') + 64 + len(b'"}')
_encode = msgspec.json.Encoder().encode

Part = TypeVar("Part", "Header", "Footer", "Attestation")


class Malformed(ValueError):
    """A line does not belong to an export. The message says what was expected."""


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """The first line: the range of positions, and the peaks of the tree before them, in hex."""

    export: str
    since: int = msgspec.field(name="from")
    until: int = msgspec.field(name="to")
    peaks: list[str]


class Footer(Struct, frozen=True, forbid_unknown_fields=True):
    """The line after the last event: the event's position, and the root of the tree up to it, in hex."""

    end: int
    root: str


_Int8 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
ShownRange = tuple[_Int8, _Int8, _Int8]
"""From a position on: where it is shown, and which position it had where it was recorded. Both rise with it."""


class Attestation(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The last line: the newest checkpoint, the path in hex from the export's tree to it, the keys, the head.

    `shown` has the ranges of each ledger that ever arrived from another installation, in the order of their positions.
    """

    checkpoint: str | None
    path: list[str]
    verifiers: list[str]
    head: int
    shown: dict[str, list[ShownRange]] = {}


class Exported(NamedTuple):
    """An event as it is stored, with the leaf hash that was sealed at its position."""

    position: int
    stream: str
    version: int
    topic: str
    state: bytes
    sealed: bytes

    @property
    def leaf(self) -> bytes:
        """The bytes of the leaf."""
        return leaf_bytes(self.position, self.stream, self.version, self.topic, self.state)


class _Line(Struct, gc=False):
    position: int
    stream: str
    version: int
    type: str
    leaf_hash: str
    event: Raw = Raw(b"")
    event_base64: str = ""


_decode_line = Decoder(_Line).decode
_decode_raw = Decoder(Raw).decode


def part_line(part: Header | Footer | Attestation) -> bytes:
    """Return a line that is not an event's."""
    return _encode(part) + b"\n"


def event_line(exported: Exported) -> bytes:
    """Return the line of an event."""
    leaf, sealed = exported.leaf, b',"leaf_hash":"%b"}\n' % exported.sealed.hex().encode()
    if _is_one_line(exported.state):
        return leaf[:-1] + sealed
    place = leaf[: -len(b',"event":}') - len(exported.state)]
    return place + b',"event_base64":"' + b64encode(exported.state) + b'"' + sealed


def read_event(line: bytes) -> tuple[Exported, bytes]:
    """Return the event of a line, and the leaf hash computed from the line; raise `Malformed`."""
    try:
        read = _decode_line(line)
        state = bytes(read.event) or b64decode(read.event_base64, validate=True)
        sealed = bytes.fromhex(read.leaf_hash)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Malformed(f"this is no event: {error}") from error
    exported = Exported(read.position, read.stream, read.version, read.type, state, sealed)
    # Only one spelling of an event is valid. Otherwise a line could be verified as one thing and read as another.
    if _is_plain(line, read, state, sealed):
        return exported, leaf_hash(line[:-_SUFFIX_BYTES] + b"}")
    if line != event_line(exported)[:-1]:
        raise Malformed("this is no event as it is exported")
    return exported, leaf_hash(exported.leaf)


def _is_plain(line: bytes, read: _Line, state: bytes, sealed: bytes) -> bool:
    """Tell whether a line is the event's own, without escapes. This takes a tenth of the time of writing it again."""
    place = (
        f'{{"position":{read.position},"stream":"{read.stream}","version":{read.version},"type":"{read.type}"'
    )
    return line == b'%b,"event":%b,"leaf_hash":"%b"}' % (place.encode(), state, sealed.hex().encode())


def read_begin(line: bytes) -> Header:
    """Return the first line; raise `Malformed`."""
    begin = _read(line, Header)
    if begin.export != FORMAT or not 1 <= begin.since <= begin.until + 1:
        raise Malformed(f"this is no export of the format {FORMAT}")
    return begin


def read_end(line: bytes) -> Footer:
    """Return the line after the last event; raise `Malformed`."""
    return _read(line, Footer)


def read_seal(line: bytes) -> Attestation:
    """Return the last line; raise `Malformed`."""
    seal = _read(line, Attestation)
    # Only one spelling is valid: a ledger that is there twice could be verified as one and read as the other.
    if line.removesuffix(b"\n") != part_line(seal)[:-1]:
        raise Malformed("this is no last line as it is exported")
    for ledger, ranges in seal.shown.items():
        if not ranges or any(next[0] <= begin for (begin, *_), next in pairwise(ranges)):
            raise Malformed(f"the last line does not show positions of {ledger} in their order")
    return seal


def hashes(texts: list[str]) -> list[bytes]:
    """Return hashes given in hex; raise `Malformed`."""
    try:
        return [bytes.fromhex(text) for text in texts]
    except ValueError as error:
        raise Malformed(f"this is no hash: {error}") from error


def _read(line: bytes, part: type[Part]) -> Part:
    try:
        return msgspec.json.decode(line, type=part)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Malformed(f"this is no line “{part.__name__.lower()}”: {error}") from error


def _is_one_line(state: bytes) -> bool:
    try:
        return b"\n" not in state and bytes(_decode_raw(state)) == state
    except (msgspec.MsgspecError, ValueError):
        return False
