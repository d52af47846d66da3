"""What every command prints when settings are wrong or it cannot go on."""

from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from api.settings import Settings


def settings_or_exit(**options: Any) -> "Settings":
    """Return the settings from options and environment. If one is wrong, name it and exit 2."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from api.settings import Settings
    from scripts.database_url import wrong_with

    try:
        settings = Settings(**{name: value for name, value in options.items() if value is not None})
    except SettingsError:
        # pydantic's own message would show the secrets.
        typer.echo("tallystick: TALLYSTICK_PROVIDERS: is not JSON", err=True)
        raise typer.Exit(2) from None
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0]).rstrip("_") if problem["loc"] else "settings"
            typer.echo(f"tallystick: TALLYSTICK_{name.upper()}: {problem['msg']}", err=True)
        raise typer.Exit(2) from None
    if wrong := wrong_with(settings.database_url or ""):
        typer.echo(f"tallystick: TALLYSTICK_DATABASE_URL: {wrong}", err=True)
        raise typer.Exit(2)
    return settings


def fail(message: str) -> NoReturn:
    """Print why the command cannot go on and exit 3."""
    typer.echo(f"tallystick: {message}", err=True)
    raise typer.Exit(3)
