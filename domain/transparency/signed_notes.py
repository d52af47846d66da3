"""Signed notes, as C2SP signed-note has them: a text that people can read, with Ed25519 signatures below it.

A verifier is what auditors keep: name, hash and public key in one line of text (a vkey). Whoever has the note and a
verifier needs nothing else.
"""

import binascii
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SEED_BYTES = 32

_ED25519 = b"\x01"
_ID_BYTES = 4
SIGNATURE_MARK = "— "
"""What the line of a signature begins with."""

_SEPARATOR = "\n\n"


class InvalidNote(Exception):
    """The text is no signed note, or no verifier given accounts for it."""


class MalformedNote(InvalidNote):
    """The text is no signed note at all, whatever the keys are."""


class Verifier(NamedTuple):
    """A public key and the name of its owner, which has neither blanks nor `+`."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that say in a signature which key made it."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public_key
        return hashlib.sha256(named).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(_ED25519 + self.public_key).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        """Return the verifier of a line of text; raise `InvalidNote`."""
        name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = from_base64(encoded)
        verifier = cls(name, key[1:])
        if not is_name(name) or key[:1] != _ED25519 or len(key) != 33 or key_id != verifier.key_id.hex():
            raise InvalidNote("this is no verifier of an Ed25519 key")
        return verifier

    def accepts(self, text: str, signature: bytes) -> bool:
        """Tell whether a signature of a text is of this key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class Signer(NamedTuple):
    """A private key, by the seed of 32 bytes that it is made from, and the name of its owner."""

    name: str
    seed: bytes

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, self._key.public_key().public_bytes_raw())

    @property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def line(self, text: str) -> str:
        """Return the signature line of a text."""
        signature = self.verifier.key_id + self._key.sign(text.encode())
        return f"{SIGNATURE_MARK}{self.name} {b64encode(signature).decode()}\n"


def is_name(name: str) -> bool:
    """Tell whether a key can have this name."""
    return bool(name) and "+" not in name and not any(character.isspace() for character in name)


def sign(text: str, signers: Iterable[Signer]) -> str:
    """Return the note of a text, which ends with a line feed, signed by each of the signers."""
    assert text.endswith("\n")
    return text + "\n" + "".join(signer.line(text) for signer in signers)


def verified(note: str, verifiers: Sequence[Verifier]) -> str:
    """Return the text of a note that at least one of the verifiers accounts for.

    Signatures of keys that are not given are passed over. Raises `InvalidNote` if none is left, and if one of a given
    key is not of this text.
    """
    text, lines = _parts(note)
    by_id = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    accounted = False
    signatures = [_signature(line) for line in lines]
    for name, signature in signatures:
        verifier = by_id.get((name, signature[:_ID_BYTES]))
        if verifier is not None:
            if not verifier.accepts(text, signature[_ID_BYTES:]):
                raise InvalidNote(f"the signature of {name} is not of this text")
            accounted = True
    if not accounted:
        signed = [(name, signature[:_ID_BYTES].hex()) for name, signature in signatures]
        raise InvalidNote(_unknown(signed, [(name, key_id.hex()) for name, key_id in by_id]))
    return text


def _unknown(signed: Sequence[tuple[str, str]], known: Sequence[tuple[str, str]]) -> str:
    """Say that none of the keys that have signed is known, and which are."""

    def named(keys: Sequence[tuple[str, str]]) -> str:
        return ", ".join(f"{name} (key {key_id})" for name, key_id in keys)

    words = f"no signature is of a key that is known: it is signed by {named(signed)}"
    return f"{words}, known are {named(known)}" if known else f"{words}, none is known"


def text_of(note: str) -> str:
    """Return the text of a note, whoever signed it; raise `MalformedNote`."""
    return _parts(note)[0]


def _parts(note: str) -> tuple[str, list[str]]:
    text, separator, signatures = note.rpartition(_SEPARATOR)
    if not separator or not signatures.endswith("\n"):
        raise MalformedNote("this is no signed note")
    return text + "\n", signatures.removesuffix("\n").split("\n")


def _signature(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(SIGNATURE_MARK).partition(" ")
    signature = from_base64(encoded)
    if not line.startswith(SIGNATURE_MARK) or not is_name(name) or len(signature) <= _ID_BYTES:
        raise MalformedNote("a signature line is malformed")
    return name, signature


def from_base64(encoded: str) -> bytes:
    """Return the bytes of a text, of which there is no other in base64; raise `InvalidNote`."""
    try:
        found = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if b64encode(found).decode() != encoded:
        raise MalformedNote("base64 is malformed")
    return found
