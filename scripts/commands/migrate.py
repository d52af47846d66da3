"""`tallystick migrate`: brings a database up to date before the processes of a new release start.

With `--finish`, after the last process of the old release has ended, it drops what only that one needed.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from scripts.commands.installation import DatabaseUrl, DataDir, InstallationName, Schema

if TYPE_CHECKING:
    from domain.journal.database import Database

Finish = Annotated[
    bool,
    typer.Option("--finish", help="Also drop what only older releases need. None of them may run any more."),
]


def migrate(
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
    finish: Finish = False,
) -> None:
    """Apply the migrations the database lacks. The service also does this when it starts.

    In a placement it does so for each installation, home first, or for the one that --installation names.
    """
    from scripts.console import settings_or_exit
    from scripts.serving.database import chosen, explained
    from scripts.serving.processes import configure_logging
    from scripts.serving.serve import prepare

    configure_logging()
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    with chosen(settings, installation) as placed:
        home = settings.placed("")[0].name
        for found in placed:
            with explained(found.database) as database:
                if made_key := prepare(settings, found, has_keys=found.name == home):
                    typer.echo(f"API key with every role on every ledger, shown this once: {made_key}")
                where = f" of {found.name}" if settings.is_placement else ""
                typer.echo(f"schema {database.schema}{where} is up to date")
                if finish:
                    _finish(database)


def _finish(database: "Database") -> None:
    from domain.journal import stream_index
    from scripts.console import fail

    try:
        finished = stream_index.finish(database)
    except stream_index.FinishedElsewhere:
        fail("another process is finishing the migrations of this schema")
    typer.echo("older releases can no longer run here" if finished else "nothing is left of older releases")
