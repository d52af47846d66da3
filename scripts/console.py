"""What every command prints when settings are wrong or it cannot go on."""

import re
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from api.settings import Settings

_URL = re.compile(r"postgres(?:ql)?://[^\s]*")
_OPTION = re.compile(r"[A-Za-z_]{1,64}")


def settings_or_exit(**options: Any) -> "Settings":
    """Return the settings from options and environment. If one is wrong, name it and exit 2."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from api.settings import Settings

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
    url = settings.database_url or ""
    try:
        conninfo_to_dict(url)
    except ProgrammingError:
        # Not what psycopg says of it: that would show the password.
        typer.echo(f"tallystick: TALLYSTICK_DATABASE_URL: {_wrong_with(url)}", err=True)
        raise typer.Exit(2) from None
    return settings


def _wrong_with(url: str) -> str:
    """Return the words for a URL that PostgreSQL's library refuses. Only names of options are quoted from it."""
    from psycopg.pq import Conninfo

    begins, mark, options = url.partition("?")
    # A password with an unescaped question mark, slash or space could be taken for an option.
    if not (mark and _URL.fullmatch(begins) and "@" not in options):
        return "is not a PostgreSQL URL"
    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | {"ssl"}
    given = [option.partition("=") for option in options.split("&")]
    names = [name if _OPTION.fullmatch(name) else "(not a name)" for name, _, _ in given if name not in known]
    if names:
        return f"is a PostgreSQL URL with an unknown option: {', '.join(dict.fromkeys(names))}"
    empty = [name for name, equals, _ in given if not equals]
    if empty:
        return f"is a PostgreSQL URL with an option without a value: {', '.join(dict.fromkeys(empty))}"
    return "is not a PostgreSQL URL"


def fail(message: str) -> NoReturn:
    """Print why the command cannot go on and exit 3."""
    typer.echo(f"tallystick: {message}", err=True)
    raise typer.Exit(3)
