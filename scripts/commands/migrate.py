"""`tallystick migrate`: brings a database up to date before the processes of a new release start."""

import typer

from scripts.commands.installation import DatabaseUrl, DataDir, Schema


def migrate(
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Apply the migrations the database lacks. The service also does this when it starts."""
    from scripts.console import settings_or_exit
    from scripts.serving.database import connected
    from scripts.serving.processes import configure_logging
    from scripts.serving.serve import prepare

    configure_logging()
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    with connected(settings) as database:
        if made_key := prepare(settings, database):
            typer.echo(f"API key with every role on every ledger, shown this once: {made_key}")
        typer.echo(f"schema {database.schema} is up to date")
