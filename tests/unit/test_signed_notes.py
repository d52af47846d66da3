"""Signed notes and checkpoints: the example of the format's authors, and everything that must not be believed."""

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domain.transparency.checkpoints import Checkpoint, open_checkpoint, origin_of
from domain.transparency.signed_notes import InvalidNote, Signer, Verifier, sign, verified

# From golang.org/x/mod/sumdb/note.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
NOTE = f"{TEXT}\n— PeterNeumann {SIGNATURE}\n"

PETER = Signer("PeterNeumann", SEED)
OTHER = Signer("other", bytes(range(32)))
ORIGIN = origin_of("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
SIGNER = Signer(ORIGIN, bytes(32))
CHECKPOINT = Checkpoint(ORIGIN, 21, bytes(range(32)))


def test_the_example_of_the_format() -> None:
    assert str(PETER.verifier) == VKEY
    assert Verifier.parse(VKEY) == PETER.verifier
    assert sign(TEXT, [PETER]) == NOTE
    assert verified(NOTE, [Verifier.parse(VKEY)]) == TEXT


def test_one_known_signature_is_enough() -> None:
    note = sign(TEXT, [OTHER, PETER])
    for verifiers in ([OTHER.verifier], [PETER.verifier], [PETER.verifier, OTHER.verifier]):
        assert verified(note, verifiers) == TEXT


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        TEXT + "\n",
        NOTE.removesuffix("\n"),
        NOTE.replace("answer", "Answer"),
        NOTE.replace("x08go/Z", "x08go/Y"),
        NOTE.replace("— Peter", "- Peter"),
        NOTE.replace("— PeterNeumann ", "— PeterNeumann  "),
        NOTE.replace(SIGNATURE, "x08goA=="),
        NOTE.replace(SIGNATURE, "x08go"),
        NOTE.replace(SIGNATURE, "not base64"),
        NOTE.replace("PeterNeumann", "Peter"),
        NOTE + "— PeterNeumann " + SIGNATURE[:-6] + "AAAAA=\n",
        sign(TEXT, [OTHER]),
    ],
)
def test_what_is_not_signed_by_a_known_key_is_not_believed(note: str) -> None:
    with pytest.raises(InvalidNote):
        verified(note, [PETER.verifier])


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "PeterNeumann",
        VKEY.replace("c74f20a3", "c74f20a4"),
        VKEY.replace("PeterNeumann", "Peter Neumann"),
        VKEY.replace("PeterNeumann", ""),
        VKEY.replace("ARpc", "AhpX"),
        VKEY[:-4],
        VKEY + "=",
    ],
)
def test_what_is_no_verifier(vkey: str) -> None:
    with pytest.raises(InvalidNote):
        Verifier.parse(vkey)


def test_a_checkpoint_can_be_read_without_this_code() -> None:
    note = CHECKPOINT.signed([SIGNER])
    text, _, signatures = note.partition("\n\n")
    origin, size, root = text.split("\n")
    assert (origin, int(size), b64decode(root)) == CHECKPOINT
    dash, name, encoded = signatures.split()
    assert (dash, name) == ("—", ORIGIN)
    name, key_id, key = str(SIGNER.verifier).split("+", 2)
    assert (name, b64decode(encoded)[:4].hex()) == (ORIGIN, key_id)
    Ed25519PublicKey.from_public_bytes(b64decode(key)[1:]).verify(
        b64decode(encoded)[4:], (text + "\n").encode()
    )


def test_a_checkpoint_is_opened_by_any_of_its_keys() -> None:
    newer = Signer(ORIGIN, bytes(range(32)))
    note = CHECKPOINT.signed([newer, SIGNER])
    for signer in (newer, SIGNER):
        assert open_checkpoint(note, [signer.verifier]) == CHECKPOINT
    assert open_checkpoint(sign(CHECKPOINT.text + "more\n", [SIGNER]), [SIGNER.verifier]) == CHECKPOINT
    with pytest.raises(InvalidNote):
        open_checkpoint(note, [OTHER.verifier])


@pytest.mark.parametrize(
    "text",
    [
        "\n21\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        f"{ORIGIN}\n",
        f"{ORIGIN}\n021\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        f"{ORIGIN}\n-1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        f"{ORIGIN}\n21\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh\n",
        f"{ORIGIN}\n21\nAAEC\n",
        f"{ORIGIN}\n21\n",
    ],
)
def test_a_note_that_is_no_checkpoint(text: str) -> None:
    with pytest.raises(InvalidNote):
        open_checkpoint(sign(text, [SIGNER]), [SIGNER.verifier])
