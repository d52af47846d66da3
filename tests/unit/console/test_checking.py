"""What the server checks of a saved checkpoint for browsers without JavaScript, and the reasons that it gives."""

import pytest

from api.console.checking import NotProved, beginning, included, opened
from domain.transparency.checkpoints import Checkpoint, origin_of
from domain.transparency.merkle_tree import Accumulator, consistency_path, folded, inclusion_path, leaf_hash
from domain.transparency.signed_notes import Signer

LEAVES = [leaf_hash(bytes([number])) for number in range(20)]
ORIGIN = origin_of("one")
SIGNER = Signer(ORIGIN, bytes(32))
VKEYS = f"{SIGNER.verifier}\n"


def checkpoint(size: int, origin: str = ORIGIN) -> Checkpoint:
    return Checkpoint(origin, size, Accumulator(LEAVES[:size]).root)


def node(level: int, index: int) -> bytes:
    return folded(LEAVES[index << level : (index + 1) << level])


def growth(first: int, second: int) -> dict[str, list[str]]:
    return {"path": [each.hex() for each in consistency_path(first, second, node)]}


@pytest.mark.parametrize(
    "change", [str, str.rstrip, lambda note: note.replace("\n", "\r\n"), lambda note: f"{note}\n\n"]
)
def test_only_the_ends_of_lines_and_of_the_note_may_have_changed(change: type[str]) -> None:
    assert opened(change(checkpoint(7).signed([SIGNER])), VKEYS) == checkpoint(7)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("\n7\n", "\n8\n", "is not of this text"),
        ("\n7\n", "\n7\n\n", "a blank line too many"),
        ("\n7\n", "\n\n7\n", "a blank line too many"),
        ("\n7\n", "\n7 \n", "blanks around a line"),
        ("— ", "- ", "no line of a signature"),
        (ORIGIN, origin_of("two"), "No signature is of a key that is known"),
    ],
)
def test_what_was_tampered_with_is_refused_with_the_reason(old: str, new: str, reason: str) -> None:
    with pytest.raises(NotProved, match=reason):
        opened(checkpoint(7).signed([SIGNER]).replace(old, new), VKEYS)


def test_keys_that_are_none_are_refused() -> None:
    with pytest.raises(NotProved, match="no verifier"):
        opened(checkpoint(7).signed([SIGNER]), "nonsense")


def test_a_history_that_has_only_grown_is_the_one_that_was_signed() -> None:
    for first in range(20):
        assert beginning(checkpoint(first), checkpoint(19), growth(first, 19))[0].startswith("Yes")


def test_a_history_that_was_rewritten_or_is_of_another_log_is_not() -> None:
    other = Checkpoint(ORIGIN, 7, bytes(32))
    for saved in (other, checkpoint(7, origin_of("two"))):
        with pytest.raises(NotProved, match="rewritten: its first 7 events"):
            beginning(saved, checkpoint(19), growth(7, 19))


def test_an_event_is_included_by_its_own_hash_only() -> None:
    path = [each.hex() for each in inclusion_path(4, 19, node)]
    proof = {"position": 5, "leaf_hash": LEAVES[4].hex(), "path": path}
    for given in ("", LEAVES[4].hex()):
        assert included(checkpoint(19), proof, given)[0].startswith("Yes")
    with pytest.raises(NotProved, match="is not at position 5"):
        included(checkpoint(19), proof, LEAVES[5].hex())
    with pytest.raises(NotProved, match="not in hex"):
        included(checkpoint(19), proof, "x")
