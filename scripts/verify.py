"""`tallystick verify`: judges an exported journal without a database, or the one that there is."""

import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from psycopg import Connection
from rich.console import Console

from domain.signed_notes import InvalidNote, Verifier
from projections.audit import one_instant
from projections.export_files import ExportFile
from projections.exporting import export_lines
from projections.verification import Verified
from projections.verification import verify as verify_file
from scripts.doctor.catalogue import Finding
from scripts.doctor.projections import differing
from scripts.doctor.report import code_of, members_of, table_of
from scripts.exported import opened, text_of
from scripts.installation import DatabaseUrl, DataDir, Schema, service_connection


def verify(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="What `tallystick export` wrote; - for standard input"),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Verify the journal of the installation, and its projections")
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="A signed checkpoint of before, which it must go on from"),
    ] = None,
    verifier_key: Annotated[
        list[str] | None,
        typer.Option(
            help="A key to trust, as /v1/audit/verifier-key shows it, or a file of such; repeat for several"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Verify that a journal is what was signed, and that it keeps the rules of a ledger.

    Each finding has a stable code, what was found, why it matters and what to do. Ends with 0 if nothing was found,
    with 1 for warnings only, with 3 for errors, and with 2 if the command was used wrongly.
    """
    if (path is None) == (not live):
        raise typer.BadParameter("name a file, or --live, and not both", param_hint="FILE")
    verifiers = _verifiers(verifier_key or [])
    saved = None if checkpoint is None else text_of(checkpoint)
    if path is not None:
        with opened(path) as file:
            verified, found = verify_file(file, verifiers, saved), list[Finding]()
    else:
        with service_connection("verify", database_url, data_dir, schema) as connection:
            verified, found = _verify_live(connection, verifiers, saved)
    found = [Finding(code, f"{times} times", words) for code, times, words in verified.found] + found
    found.sort(key=lambda finding: finding.kind.severity != "error")
    _print(verified, found, "given" if verifiers else "in the file itself", as_json=as_json)
    raise typer.Exit(code_of(found))


def _verify_live(
    connection: Connection[Any], verifiers: list[Verifier], saved: str | None
) -> tuple[Verified, list[Finding]]:
    """Verify the journal as an export of it would be, and compare the projections with the independent fold."""
    with tempfile.TemporaryFile() as file:
        with closing(export_lines(connection)) as lines:
            file.writelines(lines)
        file.flush()
        verified = verify_file(ExportFile(file), verifiers, saved)
    with one_instant(connection):
        return verified, list(differing(connection))


def _verifiers(given: list[str]) -> list[Verifier]:
    lines = [
        line
        for text in given
        for line in (text_of(Path(text)).splitlines() if Path(text).is_file() else [text])
    ]
    try:
        return [Verifier.parse(line) for line in lines if line.strip()]
    except InvalidNote as error:
        raise typer.BadParameter(str(error), param_hint="--verifier-key") from None


def _print(verified: Verified, found: list[Finding], trusted: str, *, as_json: bool) -> None:
    signed = verified.signed
    facts = {
        "from": verified.since,
        "to": verified.until,
        "root": verified.root.hex(),
        "signed": signed and {"origin": signed.origin, "size": signed.size, "key": trusted},
    }
    if as_json:
        findings = [members_of(finding) for finding in found]
        typer.echo(json.dumps({"sound": not found, **facts, "findings": findings}, indent=2))
        return
    console = Console(highlight=False)
    words = [f"positions {verified.since} to {verified.until}", f"root {verified.root.hex()}"]
    if signed:
        words.append(f"signed: {signed.size} events, by {signed.origin}, whose key is {trusted}")
    for line in words:
        console.print(line, markup=False, soft_wrap=True)
    console.print(table_of(found) if found else "Nothing was found to be wrong.")
