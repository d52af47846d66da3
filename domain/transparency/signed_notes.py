"""Signed notes in the form of C2SP signed-note: a text that people can read, with Ed25519 signatures below it.

An auditor keeps a verifier: a name, a hash and a public key in one line of text (a vkey). The note and a verifier are
all that is needed to check a signature.
"""

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SEED_BYTES = 32

_ED25519 = b"\x01"
ID_BYTES = 4
"""The length of a key's id, with which each signature begins."""

SIGNATURE_MARK = "— "
"""The beginning of a signature line."""

_SEPARATOR = "\n\n"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""A character that no note may have: it would change what a terminal shows."""


class InvalidNote(Exception):
    """The text is no signed note, or none of the given verifiers confirms it."""


class MalformedNote(InvalidNote):
    """The text is no signed note, whatever the keys are."""


class Verifier(NamedTuple):
    """A public key and its owner's name, which contains neither blanks nor `+`."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that name the key in a signature."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public_key
        return hashlib.sha256(named).digest()[:ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(_ED25519 + self.public_key).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        """Return the verifier of a vkey line; raise `InvalidNote`."""
        name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = from_base64(encoded)
        verifier = cls(name, key[1:])
        if not is_name(name) or key[:1] != _ED25519 or len(key) != 33 or key_id != verifier.key_id.hex():
            raise InvalidNote("this is no verifier of an Ed25519 key")
        return verifier

    def accepts(self, text: str, signature: bytes) -> bool:
        """Tell whether this key made the signature of the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class Signer(NamedTuple):
    """A private key, given by its 32-byte seed, and its owner's name."""

    name: str
    seed: bytes

    @property
    def verifier(self) -> Verifier:
        """The public half of the key."""
        return Verifier(self.name, self._key.public_key().public_bytes_raw())

    @property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def signature(self, text: str) -> bytes:
        """Return the bare signature of a text."""
        return self._key.sign(text.encode())

    def line(self, text: str) -> str:
        """Return the signature line of a text."""
        signature = self.verifier.key_id + self.signature(text)
        return f"{SIGNATURE_MARK}{self.name} {b64encode(signature).decode()}\n"


def is_name(name: str) -> bool:
    """Tell whether a key can have this name."""
    is_bare = not any(character.isspace() for character in name)
    return bool(name) and "+" not in name and is_bare and not _CONTROL.search(name)


def sign(text: str, signers: Iterable[Signer]) -> str:
    """Return the note of a text, signed by each of the signers. The text must end with a line feed."""
    assert text.endswith("\n")
    return text + "\n" + "".join(signer.line(text) for signer in signers)


def verified(note: str, verifiers: Sequence[Verifier]) -> str:
    """Return the text of a note that at least one of the verifiers confirms.

    Signatures of other keys are ignored. Raises `InvalidNote` if a given key's signature does not fit the text, and if
    no signature is of a given key.
    """
    text, lines = _parts(note)
    by_id = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    accounted = False
    signatures = [signature_of(line) for line in lines]
    for name, signature in signatures:
        verifier = by_id.get((name, signature[:ID_BYTES]))
        if verifier is not None:
            if not verifier.accepts(text, signature[ID_BYTES:]):
                raise InvalidNote(f"the signature of {name} is not of this text")
            accounted = True
    if not accounted:
        signed = [(name, signature[:ID_BYTES].hex()) for name, signature in signatures]
        raise InvalidNote(_unknown(signed, [(name, key_id.hex()) for name, key_id in by_id]))
    return text


def signers_of(note: str, verifiers: Iterable[Verifier]) -> tuple[Verifier, ...]:
    """Return those of the verifiers that a signature of the note names and that confirm its text, in their order.

    Raises `InvalidNote` if a signature of one of them does not fit the text, and `MalformedNote`.
    """
    text, lines = _parts(note)
    made = {
        (name, signature[:ID_BYTES]): signature[ID_BYTES:] for name, signature in map(signature_of, lines)
    }
    found = []
    for verifier in dict.fromkeys(verifiers):
        signature = made.get((verifier.name, verifier.key_id))
        if signature is None:
            continue
        if not verifier.accepts(text, signature):
            raise InvalidNote(f"the signature of {verifier.name} is not of this text")
        found.append(verifier)
    return tuple(found)


def _unknown(signed: Sequence[tuple[str, str]], known: Sequence[tuple[str, str]]) -> str:
    """Return the sentence that names the keys that signed and the keys that are known."""

    def named(keys: Sequence[tuple[str, str]]) -> str:
        return ", ".join(f"{name} (key {key_id})" for name, key_id in keys)

    words = f"no signature is of a key that is known: it is signed by {named(signed)}"
    return f"{words}, known are {named(known)}" if known else f"{words}, none is known"


def text_of(note: str) -> str:
    """Return the text of a note without checking signatures; raise `MalformedNote`."""
    return _parts(note)[0]


def _parts(note: str) -> tuple[str, list[str]]:
    text, separator, signatures = note.rpartition(_SEPARATOR)
    if not separator or not signatures.endswith("\n") or _CONTROL.search(note):
        raise MalformedNote("this is no signed note")
    return text + "\n", signatures.removesuffix("\n").split("\n")


def signature_of(line: str) -> tuple[str, bytes]:
    """Return the name in a signature line, and the key's id followed by the signature; raise `MalformedNote`."""
    name, _, encoded = line.removeprefix(SIGNATURE_MARK).partition(" ")
    signature = from_base64(encoded)
    if not line.startswith(SIGNATURE_MARK) or not is_name(name) or len(signature) <= ID_BYTES:
        raise MalformedNote("a signature line is malformed")
    return name, signature


def from_base64(encoded: str) -> bytes:
    """Return the bytes of a base64 text; raise `MalformedNote` unless it is their canonical encoding."""
    try:
        found = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if b64encode(found).decode() != encoded:
        raise MalformedNote("base64 is malformed")
    return found
