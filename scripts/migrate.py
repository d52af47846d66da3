"""`tallystick migrate`: bring a database up to date, before the processes of a new release start."""

from pathlib import Path
from typing import Annotated

import typer


def migrate(
    database_url: Annotated[str | None, typer.Option(help="The PostgreSQL to migrate")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded PostgreSQL lives")] = None,
    schema: Annotated[str | None, typer.Option(help="The schema of this installation [tallystick]")] = None,
) -> None:
    """Apply the migrations that the database lacks; the service does so too when it starts."""
    from scripts.connection import connected
    from scripts.serve import prepare, settings_or_exit
    from scripts.workers import configure_logging

    configure_logging()
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    with connected(settings) as database:
        if made_key := prepare(settings, database):
            typer.echo(f"API key with every role on every ledger, shown this once: {made_key}")
        typer.echo(f"schema {database.schema} is up to date")
