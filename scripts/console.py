"""What every command prints when settings are wrong or it cannot go on."""

import re
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from api.settings import Settings


_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def settings_or_exit(*, of_placement: bool = False, **options: Any) -> "Settings":
    """Return the settings from options and environment. If one is wrong, name it and exit 2.

    A command that is told a database or a schema works on that installation alone, whatever placement the environment
    names, unless it is one `of_placement`.
    """
    from pydantic import ValidationError

    from api.settings import Settings
    from scripts.database_url import wrong_with

    given = {name: value for name, value in options.items() if value is not None}
    if not of_placement and not given.keys().isdisjoint(("database_url", "schema_")):
        # None and not an empty one, which would be merged with that of the environment.
        given["installations"] = None
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            first, *inner = problem["loc"] or ["installations"]
            name = str(first).rstrip("_").upper()
            within = "".join(map(_told, inner)) if name in ("INSTALLATIONS", "WITNESSED") else ""
            message = problem["msg"].removeprefix("Value error, ")
            typer.echo(f"tallystick: TALLYSTICK_{name}: {within}{message}", err=True)
        raise typer.Exit(2) from None
    urls = {"TALLYSTICK_DATABASE_URL": settings.database_url} | {
        f"TALLYSTICK_INSTALLATIONS: {name}: database_url": given.database_url
        for name, given in settings.installations.items()
    }
    for name, url in urls.items():
        if wrong := wrong_with(url or ""):
            typer.echo(f"tallystick: {name}: {wrong}", err=True)
            raise typer.Exit(2)
    return settings


def _told(part: str | int) -> str:
    """Return a place within a setting in words. What is no name of ours may be a secret in the wrong place."""
    if part == "[key]":
        return ""
    return f"{part if _NAME.fullmatch(str(part)) else '(not a name)'}: "


def fail(message: str) -> NoReturn:
    """Print why the command cannot go on and exit 3."""
    typer.echo(f"tallystick: {message}", err=True)
    raise typer.Exit(3)
