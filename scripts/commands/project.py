"""`tallystick project` and `tallystick publish`: the followers of the journal, run apart from `serve`."""

import os

from scripts.commands.installation import DatabaseUrl, InstallationName, Schema, only


def project(
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Advance every projection until stopped. A second projector waits until the first one ends."""
    from scripts.serving.processes import run_projector

    set_up(database_url, schema, installation)
    run_projector()


def publish(
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Deliver webhooks until stopped. Also publish to NATS if TALLYSTICK_NATS_URL is set.

    A second publisher waits until the first one ends.
    """
    from scripts.serving.processes import run_publisher

    set_up(database_url, schema, installation)
    run_publisher()


def set_up(database_url: str | None, schema: str | None, installation: str | None) -> None:
    """Bring the database up to date and put it where the service's processes look for it, in the environment."""
    from scripts.console import fail, settings_or_exit
    from scripts.serving.database import chosen
    from scripts.serving.processes import configure_logging
    from scripts.serving.serve import places, prepare

    configure_logging()
    settings = settings_or_exit(database_url=database_url, schema_=schema)
    name = only(settings, installation)
    if settings.needs_embedded:
        fail(
            "an embedded database is served by `tallystick serve`, which does this too; give a --database-url"
        )
    if settings.read_only:
        fail("TALLYSTICK_READ_ONLY is set, and this writes: it runs beside the primary")
    with chosen(settings, name) as (found,):
        prepare(settings, found, has_keys=name == settings.placed()[0].name)
        os.environ |= places("projector", settings, [found], settings.placed())
    os.environ.pop("TALLYSTICK_INSTALLATIONS", None)
