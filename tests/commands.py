"""Runs commands of `tallystick`: inside the test's own process wherever possible."""

import subprocess
import sys
from collections.abc import Sequence

from typer import Typer
from typer.testing import CliRunner, Result

from scripts import endings
from scripts.tallystick import COMMANDS, application
from tests.service import ROOT

SETTING_UP_A_PROCESS = {"serve", "project", "publish", "migrate", "simulate-provider", "listen", "bench"}
"""These commands set up logging and signals for the whole process that they run in, and never take that back."""


def invoke(
    command: Typer, arguments: Sequence[str], given: str | bytes | None = None, **environment: str
) -> Result:
    """Run a command and return what it printed and its exit code; what it does not catch is raised."""
    return CliRunner().invoke(command, arguments, input=given, env=environment, catch_exceptions=False)


def call(arguments: Sequence[str]) -> int:
    """Run a command line as `tallystick` does and return its exit code. pytest's `capfd` has what it printed."""
    if arguments[0] in SETTING_UP_A_PROCESS:
        return subprocess.run([sys.executable, "-m", "scripts.tallystick", *arguments], cwd=ROOT).returncode
    named = [arguments[0]] if arguments[0] in COMMANDS else COMMANDS
    return endings.run(lambda: application(named), arguments)
