"""`tallystick prove`: writes a proof that an event is in the journal, for someone without the ledger."""

from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, Any

import typer
from psycopg import Connection

from domain.transparency.signed_notes import Verifier
from domain.transparency.tlog_proofs import TlogProof
from projections.transparency.event_proofs import NotProved, NotSealed, prove_event
from scripts.commands.export_output import STANDARD, written
from scripts.commands.installation import DatabaseUrl, DataDir, InstallationName, Schema, service_connection
from scripts.commands.trust import SavedCheckpoint, VerifierKeys, saved_note, trusted
from scripts.console import fail

LOOK_AGAIN_SECONDS = 0.1


def prove(
    position: Annotated[int, typer.Option(min=1, help="The position of the event")],
    path: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="The file to write; - for standard output")
    ] = STANDARD,
    checkpoint: SavedCheckpoint = None,
    verifier_key: VerifierKeys = None,
    wait_seconds: Annotated[
        float, typer.Option(min=0, help="How long to wait until the position is sealed")
    ] = 3.0,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Write a proof that an event is in the journal at its position, against the newest or a saved checkpoint.

    The proof holds the event byte for byte as stored, the path to the root of the checkpoint's tree, and the checkpoint
    with its signatures. `tallystick verify-proof` checks it without the ledger, and so can any program that knows the
    format, tlog-proof of C2SP; the README has one of thirty lines. Exits 3 if there is no proof, for example because
    the checkpoint was signed of another journal.
    """
    verifiers, saved = trusted(verifier_key), saved_note(checkpoint)
    with service_connection("prove", database_url, data_dir, schema, installation) as connection:
        proof = _proved(connection, position, saved, verifiers, wait_seconds)
    with written(path) as file:
        file.write(proof.text.encode())


def _proved(
    connection: Connection[Any],
    position: int,
    saved: str | None,
    verifiers: list[Verifier],
    wait_seconds: float,
) -> TlogProof:
    give_up_at = monotonic() + wait_seconds
    while True:
        try:
            return prove_event(connection, position, saved, verifiers)
        except NotProved as error:
            if not isinstance(error, NotSealed) or monotonic() >= give_up_at:
                fail(f"not_proved: {error}")
        sleep(LOOK_AGAIN_SECONDS)
