"""`tallystick verify-proof`: checks a proof that `tallystick prove` wrote, without a database or the service."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from domain.transparency.checkpoints import Checkpoint, claimed, open_checkpoint, tidied
from domain.transparency.merkle_tree import leaf_hash, verify_inclusion
from domain.transparency.signed_notes import InvalidNote, Verifier
from domain.transparency.tlog_proofs import MalformedProof, TlogProof, position_of, read_proof
from scripts.commands.export_output import STANDARD
from scripts.commands.trust import SavedCheckpoint, VerifierKeys, read_text, saved_note, trusted
from scripts.doctor.report import EXIT_ERRORS, EXIT_HEALTHY, EXIT_WARNINGS
from scripts.table import cell

_UNCHECKED = (
    "Who signed the checkpoint was not checked, so anybody could have made this proof. Give the key that must have"
    " signed it with --verifier-key, or the checkpoint that you saved with --checkpoint."
)


class Refuted(Exception):
    """The proof proves nothing. The message says why."""


class Proved(NamedTuple):
    """What a proof has shown. `trusted` says why its checkpoint is believed; None if nothing to trust was given."""

    proof: TlogProof
    checkpoint: Checkpoint
    trusted: str | None


def verify_proof(
    path: Annotated[
        Path,
        typer.Argument(metavar="PROOF", help="The file that `tallystick prove` wrote; - for standard input"),
    ],
    verifier_key: VerifierKeys = None,
    checkpoint: SavedCheckpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object, for programs")] = False,
) -> None:
    """Check that an event is in the journal a checkpoint was signed for. Needs neither database nor service.

    Exit codes: 0 if it is proved and the checkpoint is signed by a given key or is the given one, 1 if it is proved but
    nothing to trust was given, 3 if it is not proved.
    """
    verifiers, saved = trusted(verifier_key), saved_note(checkpoint)
    try:
        proved = _proved(sys.stdin.read() if path == STANDARD else read_text(path), verifiers, saved)
    except (Refuted, MalformedProof, InvalidNote) as error:
        if as_json:
            typer.echo(json.dumps({"proved": False, "reason": str(error)}, indent=2))
        typer.echo(f"tallystick: not_proved: {cell(str(error))}", err=True)
        raise typer.Exit(EXIT_ERRORS) from None
    _print(proved, as_json=as_json)
    raise typer.Exit(EXIT_HEALTHY if proved.trusted else EXIT_WARNINGS)


def _proved(text: str, verifiers: list[Verifier], saved: str | None) -> Proved:
    proof = read_proof(text)
    note = tidied(proof.note)
    checkpoint = open_checkpoint(note, verifiers) if verifiers else claimed(note)
    why = f"signed by a key of {checkpoint.origin} that was given" if verifiers else None
    if saved is not None:
        known = tidied(saved)
        if checkpoint != (open_checkpoint(known, verifiers) if verifiers else claimed(known)):
            raise Refuted(
                f"its checkpoint, of {checkpoint.size} events of {checkpoint.origin}, is not the one that was given"
            )
        why = why or "the one that was given"
    position = position_of(proof.leaf)
    if position != proof.leaf_index + 1:
        raise Refuted(f"the proof is for position {proof.leaf_index + 1}, but its event is at {position}")
    if position > checkpoint.size:
        raise Refuted(f"position {position} is beyond the checkpoint, which has {checkpoint.size} events")
    hashed = leaf_hash(proof.leaf)
    if not verify_inclusion(hashed, proof.leaf_index, checkpoint.size, checkpoint.root, proof.path):
        raise Refuted(
            "the event is not in the tree of the checkpoint: event, path or checkpoint were changed"
        )
    return Proved(proof, checkpoint, why)


def _print(proved: Proved, *, as_json: bool) -> None:
    proof, checkpoint, why = proved
    event = _event(proof.leaf)
    if as_json:
        said = {
            "proved": True,
            "trusted": why,
            "position": proof.leaf_index + 1,
            "size": checkpoint.size,
            "origin": checkpoint.origin,
            "root_hash": checkpoint.root.hex(),
            "leaf_hash": leaf_hash(proof.leaf).hex(),
            "event": event,
        }
        typer.echo(json.dumps(said, indent=2))
        return
    typer.echo(f"Position {proof.leaf_index + 1} of {checkpoint.origin} has this event:")
    typer.echo(cell(proof.leaf.decode("utf-8", "replace")))
    words = f"It is in the checkpoint of {checkpoint.size} events"
    typer.echo(f"{words}, which is {why}." if why else f"{words}. {_UNCHECKED}")


def _event(leaf: bytes) -> Any:
    """Return the event of a leaf. None if it is not JSON, which no release writes."""
    try:
        return json.loads(leaf)
    except ValueError:
        return None
