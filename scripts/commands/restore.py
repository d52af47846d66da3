"""`tallystick import`: restores an exported journal into an empty database."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from domain.journal.migrations import migrate
from domain.transparency.export_format import Malformed
from domain.transparency.signed_notes import Verifier
from projections.exports.moved_ledgers import NotShown
from projections.exports.restore import NotEmpty, NotWhole, import_events
from projections.exports.verification import Verified, verify
from scripts.commands.export_output import opened
from scripts.commands.installation import DatabaseUrl, DataDir, InstallationName, Schema, only
from scripts.commands.trust import SavedCheckpoint, VerifierKeys, saved_note, trusted
from scripts.console import fail, settings_or_exit
from scripts.doctor.finding import Finding
from scripts.doctor.report import EXIT_ERRORS, code_of, table_of
from scripts.serving.database import connected


def restore(
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The file that `tallystick export` wrote; - for standard input"),
    ],
    checkpoint: SavedCheckpoint = None,
    verifier_key: VerifierKeys = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Restore an exported journal into an empty database: the same events at the same positions, all or none.

    The file is first verified, as `tallystick verify` does with the same options. It is refused if it has errors or
    does not begin at position 1, or if the database already has events. With --checkpoint the file must be shown to
    continue that checkpoint; with --verifier-key it must be signed by that key. Existing proofs and checkpoints stay
    valid. Projections are built when the service starts. API keys and signing keys are not part of the journal, so the
    new database signs under its own name.
    """
    verifiers, saved = trusted(verifier_key), saved_note(checkpoint)
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    with opened(path) as file:
        verified = verify(file, verifiers, [] if saved is None else [saved])
        _require_sound(verified, verifiers, saved)
        try:
            with connected(settings, only(settings, installation)) as database:
                migrate(database)
                position = import_events(database, file)
        except NotWhole:
            fail(f"the file begins at position {file.begin.since}: export from the first one")
        except NotShown as error:
            words = "and the release that exported it does not say where its positions are shown"
            fail(
                f"the ledger {error} arrived from another installation, {words}: export again with this release"
            )
        except Malformed as error:
            fail(f"the file was not imported: {error}")
        except NotEmpty:
            words = "import into an empty one, before its first start, which records the key that it makes"
            fail(f"the journal in the schema {settings.schema_} has events: {words}")
    typer.echo(f"{position} events were imported.")


def _require_sound(verified: Verified, verifiers: Sequence[Verifier], saved: str | None) -> None:
    """Print the findings. Exit 3 on errors, or if the file does not show what it was asked to show."""
    found = [Finding(code, f"{times} times", words) for code, times, words in verified.found]
    if found:
        Console(stderr=True, highlight=False).print(table_of(found))
    if code_of(found) == EXIT_ERRORS:
        fail("the file was not imported: see `tallystick verify`")
    if saved is not None and not verified.shown:
        fail("the file was not imported: nothing shows that it continues the checkpoint")
    if verifiers and verified.signed is None:
        fail("the file was not imported: nothing in it is signed by the key")
    if verified.shown:
        typer.echo(verified.shown)
