"""How a command says that it cannot do what was asked: in one sentence, with exit code 3."""

from typing import NoReturn

import typer

from scripts.doctor.report import EXIT_ERRORS


def refuse(message: str) -> NoReturn:
    """Say why this cannot go on and exit 3, as for everything that is wrong; 1 is for warnings, 2 for wrong use."""
    typer.echo(f"tallystick: {message}", err=True)
    raise typer.Exit(EXIT_ERRORS)
