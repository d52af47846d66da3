"""Runs a command of `tallystick` inside the test's own process."""

from collections.abc import Sequence

from typer import Typer
from typer.testing import CliRunner, Result


def invoke(
    command: Typer, arguments: Sequence[str], given: str | bytes | None = None, **environment: str
) -> Result:
    """Run a command and return what it printed and its exit code; what it does not catch is raised."""
    return CliRunner().invoke(command, arguments, input=given, env=environment, catch_exceptions=False)
