"""Calls of `tallystick replay` without a subcommand: which command takes them, and how flags are spelt anew."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from scripts.calls import as_called
from scripts.commands.replay.carrying_out import Act

WITHOUT_SUBCOMMAND = "NAME…"
"""The hidden subcommand for calls without a subcommand, such as `tallystick replay entries`. It also takes the flags
that the subcommands replace."""


class RebuildsByDefault(TyperGroup):
    """The subcommands. A call that names none of them starts a rebuild."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, with the hidden subcommand before them if they begin with none."""
        names_one = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if names_one else [WITHOUT_SUBCOMMAND, *args])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the subcommand and its arguments. Errors and help call the hidden one `run`."""
        name, command, rest = super().resolve_command(ctx, args)
        return ("run" if name == WITHOUT_SUBCOMMAND else name), command, rest


def spelt_anew(
    act: Act,
    projections: Sequence[str],
    reason: str | None,
    accept_difference: str | None,
    workers: int | None,
) -> Iterator[str]:
    """Yield the command that does the same, ready to paste; then, if one is left, what to do about a difference.

    `projections` are names, or only `--all`. Options that the act does not use are left out.
    """
    rebuilds = act in ("run", "restart", "resume")
    filling = [f"--workers={workers}"] if workers and rebuilds else []
    why = [f"--reason={reason}"] if reason and act != "drop-retired" else []
    if act != "run" or why:
        yield _command(act, *projections, *why, *filling)
    if accept_difference and rebuilds:
        yield _command("accept", *projections, f"--reason={accept_difference}", *filling)


def tell_new_spelling(flag: str, commands: Iterable[str]) -> None:
    """Say on standard error, in one line, what to call instead of `replay` with a flag."""
    spelling = ", and then, if the versions differ, ".join(f"`{command}`" for command in commands)
    typer.echo(f"tallystick: --{flag} is an old spelling; the new one is {spelling}", err=True)


def _command(*parts: str) -> str:
    # A reason may have line breaks, and the sentence is one line.
    return as_called(f"tallystick replay {shlex.join(' '.join(part.split()) for part in parts)}")
