"""Cosignatures in the form of C2SP tlog-cosignature: a witness states when it saw that a checkpoint follows.

A cosignature is one more signature line of the checkpoint's note. Its key has the name and the bytes of the witness's
own signing key, and another id, so neither signature can be taken for the other.
"""

import hashlib
from base64 import b64encode

from domain.transparency.signed_notes import (
    ID_BYTES,
    SIGNATURE_MARK,
    InvalidNote,
    Signer,
    Verifier,
    signature_of,
)

_COSIGNED = b"\x04"
_TIME_BYTES = 8


def cosignature(signer: Signer, text: str, at_seconds: int) -> str:
    """Return the line, with its line feed, given the text of a checkpoint and when it was seen, in Unix time."""
    signature = signer.signature(_message(text, at_seconds))
    signed = _key_id(signer.verifier) + at_seconds.to_bytes(_TIME_BYTES, "big") + signature
    return f"{SIGNATURE_MARK}{signer.name} {b64encode(signed).decode()}\n"


def cosigned_at(line: str, text: str, verifier: Verifier) -> int:
    """Return the Unix time at which a witness cosigned the text of a checkpoint. Raises `InvalidNote`.

    `verifier` has the name and the key of the witness.
    """
    name, signed = signature_of(line.removesuffix("\n"))
    if (name, signed[:ID_BYTES]) != (verifier.name, _key_id(verifier)):
        raise InvalidNote(f"the cosignature is not of {verifier.name}")
    at_seconds = int.from_bytes(signed[ID_BYTES : ID_BYTES + _TIME_BYTES], "big")
    if not verifier.accepts(_message(text, at_seconds), signed[ID_BYTES + _TIME_BYTES :]):
        raise InvalidNote(f"the cosignature of {verifier.name} is not of this text")
    return at_seconds


def _message(text: str, at_seconds: int) -> str:
    return f"cosignature/v1\ntime {at_seconds}\n{text}"


def _key_id(verifier: Verifier) -> bytes:
    named = verifier.name.encode() + b"\n" + _COSIGNED + verifier.public_key
    return hashlib.sha256(named).digest()[:ID_BYTES]
