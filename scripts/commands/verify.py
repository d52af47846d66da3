"""`tallystick verify`: judges an exported journal without a database, or the journal of an installation."""

import json
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from psycopg import Connection
from psycopg.rows import tuple_row
from rich.console import Console

from domain.model.times import instant, later
from projections.audit import one_instant
from projections.exports.export import export_lines
from projections.exports.export_file import ExportFile
from projections.exports.verification import Moment, Verified
from projections.exports.verification import verify as verify_file
from scripts.commands.export_output import opened
from scripts.commands.installation import DatabaseUrl, DataDir, InstallationName, Schema, service_connection
from scripts.commands.trust import SavedCheckpoints, VerifierKeys, saved_notes, trusted
from scripts.commands.witnessing.testimony import (
    Fixed,
    Witness,
    Witnesses,
    WitnessKey,
    asked,
    findings_of,
    fixed_by,
    origins_of,
)
from scripts.doctor.finding import Finding
from scripts.doctor.projections import differing
from scripts.doctor.report import code_of, members_of, table_of

Judged = tuple[Verified, list[Witness]]
"""The result of a verification, and what the witnesses said that were asked for it."""

SEALED_WITHIN_SECONDS = 10.0
"""Events older than this must be signed. Signing is promised within a second; this allows for slow machines."""


def verify(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="The file that `tallystick export` wrote; - for standard input"
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Verify the journal and projections of the installation")
    ] = False,
    checkpoint: SavedCheckpoints = None,
    verifier_key: VerifierKeys = None,
    witness: Witnesses = None,
    witness_api_key: WitnessKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Verify that a journal is what was signed and that it keeps the rules of a ledger.

    Each finding has a stable code and says what was found, why it matters and what to do. Exit codes: 0 no finding, 1
    warnings only, 2 wrong usage, 3 errors.
    """
    if (path is None) == (not live):
        raise typer.BadParameter("give either a file or --live", param_hint="FILE")
    verifiers, saved = trusted(verifier_key), saved_notes(checkpoint)

    def judged(file: ExportFile, sealing: Moment | None = None) -> tuple[Verified, list[Witness]]:
        witnesses = asked(witness, witness_api_key, origins_of(file, verifiers))
        notes = [*saved, *(note for each in witnesses for note in each.notes)]
        former = [verifier for each in witnesses for verifier in each.verifiers]
        return verify_file(file, verifiers, notes, sealing, former), witnesses

    if path is not None:
        with opened(path) as file:
            (verified, witnesses), found = judged(file), list[Finding]()
    else:
        with service_connection("verify", database_url, data_dir, schema, installation) as connection:
            (verified, witnesses), found = _verify_live(connection, judged)
    found = [Finding(code, f"{times} times", words) for code, times, words in verified.found] + found
    found += findings_of(witnesses, verified)
    found.sort(key=lambda finding: finding.kind.severity != "error")
    fixed = fixed_by(witnesses, verified)
    _print(verified, found, fixed, "given" if verifiers else "in the file itself", as_json=as_json)
    raise typer.Exit(code_of(found))


def _verify_live(
    connection: Connection[Any], judged: Callable[[ExportFile, Moment], Judged]
) -> tuple[Judged, list[Finding]]:
    """Verify the journal as an export of it would be verified, and compare the projections with an independent fold."""
    sealing = _being_sealed(connection)
    with tempfile.TemporaryFile() as file:
        with closing(export_lines(connection)) as lines:
            file.writelines(lines)
        file.flush()
        found = judged(ExportFile(file), sealing)
    with one_instant(connection):
        return found, list(differing(connection))


def _being_sealed(connection: Connection[Any]) -> Moment:
    """Return the recorded time from which events need not be signed yet, by the database's clock."""
    ((now,),) = connection.cursor(row_factory=tuple_row).execute("SELECT clock_timestamp()").fetchall()
    return Moment(later(instant(now), -SEALED_WITHIN_SECONDS), later(instant(now), SEALED_WITHIN_SECONDS))


def _print(verified: Verified, found: list[Finding], fixed: list[Fixed], key: str, *, as_json: bool) -> None:
    signed, saved = verified.signed, verified.saved
    facts = {
        "from": verified.since,
        "to": verified.until,
        "root": verified.root.hex(),
        "signed": signed and {"origin": signed.origin, "size": signed.size, "key": key},
        "saved": saved and {"origin": saved.origin, "size": saved.size, "shown": verified.shown or None},
        "fixed": [{"by": by, "size": size, "at": recorded_at} for by, size, recorded_at in fixed],
    }
    if as_json:
        findings = [members_of(finding) for finding in found]
        typer.echo(json.dumps({"sound": not found, **facts, "findings": findings}, indent=2))
        return
    console = Console(highlight=False)
    words = [f"positions {verified.since} to {verified.until}", f"root {verified.root.hex()}"]
    if signed:
        words.append(f"signed: {signed.size} events, by {signed.origin}, whose key is {key}")
    if verified.shown:
        words.append(verified.shown)
    words += map(str, fixed)
    for line in words:
        console.print(line, markup=False, soft_wrap=True)
    console.print(table_of(found) if found else "Nothing was found to be wrong.")
