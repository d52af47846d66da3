"""`tallystick project`: the projector alone, where `serve` does not run it."""

import os
from typing import Annotated

import typer


def project(
    database_url: Annotated[str | None, typer.Option(help="The PostgreSQL of the journal")] = None,
    schema: Annotated[str | None, typer.Option(help="The schema of this installation [tallystick]")] = None,
) -> None:
    """Advance every projection until stopped; a second projector waits until the first one ends."""
    from scripts.serve import fail, prepare, settings_or_exit
    from scripts.workers import configure_logging, run_projector

    configure_logging()
    settings = settings_or_exit(database_url=database_url, schema_=schema)
    if not settings.database_url:
        fail("the projector of an embedded database runs with `tallystick serve`; give a --database-url")
    from domain.journal.database import Database

    prepare(settings, Database(settings.database_url, settings.schema_))
    os.environ["TALLYSTICK_DATABASE_URL"] = settings.database_url
    os.environ["TALLYSTICK_SCHEMA"] = settings.schema_
    run_projector()
