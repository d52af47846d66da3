"""Checks of checkpoints and proofs by the server, for browsers without JavaScript: pure, from what the API answers.

The script of the page (static/proofs.js) makes the same checks in the browser.
"""

from collections.abc import Mapping
from typing import Any

from domain.transparency.checkpoints import Checkpoint, open_checkpoint, tidied
from domain.transparency.merkle_tree import verify_consistency, verify_inclusion
from domain.transparency.signed_notes import InvalidNote, MalformedNote, Verifier


class NotProved(Exception):
    """What was asked is not so. The message says why."""


class NotChecked(Exception):
    """Nothing was found out, because the API gave no proof. The message says why."""


def opened(note: str, vkeys: str) -> Checkpoint:
    """Return the checkpoint of a note that one of the keys signed, given one on each line; raise `NotProved`."""
    try:
        verifiers = [Verifier.parse(vkey) for vkey in vkeys.splitlines() if vkey.strip()]
        return open_checkpoint(_unaltered(note), verifiers)
    except InvalidNote as error:
        raise NotProved(f"{str(error)[0].upper()}{str(error)[1:]}.") from None


def _unaltered(note: str) -> str:
    """Return a note as it was signed, if only its line ends and its end were changed; raise `MalformedNote`."""
    lines = note.rstrip().splitlines()
    signed = tidied(note)
    if "\n".join([*lines, ""]) != signed:
        raise MalformedNote(
            "it has a blank line too many, or blanks around a line: only one blank line stands before the signatures"
        )
    return signed


def beginning(saved: Checkpoint, newest: Checkpoint, growth: Mapping[str, Any]) -> tuple[str, str]:
    """Return in words that the saved checkpoint's events begin those of the newest; raise `NotProved`."""
    path = [bytes.fromhex(node) for node in growth["path"]]
    is_begun = verify_consistency(saved.size, newest.size, saved.root, newest.root, path)
    if saved.origin != newest.origin or not is_begun:
        raise NotProved(
            f"The history was rewritten: its first {saved.size} events are not those that were signed."
        )
    return (
        "Yes: this history is the one that was signed.",
        f"Today's {newest.size} events begin with the {saved.size} events of this checkpoint.",
    )


def included(newest: Checkpoint, inclusion: Mapping[str, Any], leaf_hash: str) -> tuple[str, str]:
    """Return in words that an event is in the checkpoint; raise `NotProved`. `leaf_hash` is empty to take the API's."""
    path = [bytes.fromhex(node) for node in inclusion["path"]]
    position, leaf = inclusion["position"], leaf_hash or inclusion["leaf_hash"]
    if not verify_inclusion(_hash(leaf), position - 1, newest.size, newest.root, path):
        raise NotProved(
            f"The event with the leaf hash {leaf} is not at position {position} of the signed journal."
        )
    return (
        "Yes: this event is in the journal that was signed.",
        f"The event with the leaf hash {leaf} stands at position {position} of {newest.size}.",
    )


def _hash(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise NotProved("This leaf hash is not in hex.") from None
