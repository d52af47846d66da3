"""`tallystick import`: restores an exported journal into an empty database."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from domain.journal.migrations import migrate
from projections.importing import NotEmpty, NotWhole, import_events
from projections.verification import verify
from scripts.connection import connected
from scripts.doctor.catalogue import Finding
from scripts.doctor.report import EXIT_ERRORS, code_of, table_of
from scripts.exported import opened
from scripts.installation import DatabaseUrl, DataDir, Schema
from scripts.serve import fail, settings_or_exit


def restore(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `tallystick export` wrote; - for standard input")
    ],
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Restore an exported journal into an empty database: the same events at the same positions, all or none.

    The file is verified before; one in which errors are found is refused, and so is one without the beginning, and a
    journal that has events. Proofs and checkpoints of before stay valid. Projections follow by themselves; API keys and
    signing keys are no part of the journal, so that the database signs under a name of its own.
    """
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    with opened(path) as file:
        found = [Finding(code, f"{times} times", words) for code, times, words in verify(file).found]
        if code_of(found) == EXIT_ERRORS:
            Console(stderr=True, highlight=False).print(table_of(found))
            fail("the file was not imported: see `tallystick verify`")
        try:
            with connected(settings) as database:
                migrate(database)
                position = import_events(database, file)
        except NotWhole:
            fail(f"the file begins at position {file.begin.since}: export from the first one")
        except NotEmpty:
            words = "import into an empty one, before its first start, which records the key that it makes"
            fail(f"the journal in the schema {settings.schema_} has events: {words}")
    typer.echo(f"{position} events were imported.")
