"""`tallystick replay`: its subcommands, and the spelling with flags that they replace."""

from collections.abc import Sequence
from typing import Annotated

import typer

from projections.registry import PROJECTIONS
from scripts.commands.installation import DatabaseUrl, DataDir, InstallationName, Schema, reason_in_words
from scripts.commands.replay.carrying_out import Act, carry_out
from scripts.commands.replay.old_flags import (
    WITHOUT_SUBCOMMAND,
    RebuildsByDefault,
    spelt_anew,
    tell_new_spelling,
)

replay = typer.Typer(
    cls=RebuildsByDefault,
    help="Rebuild projections beside the live ones, compare, and switch to what is equal. `tallystick replay NAME` is"
    " short for `tallystick replay run NAME`.",
)


def _checked(reason: str | None) -> str | None:
    if reason is not None:
        reason_in_words(reason)
    return reason


Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME…", help=f"Projections: {', '.join(PROJECTIONS)}.")
]
Every = Annotated[bool, typer.Option("--all", help="Every projection.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Why; stored with the request.", callback=_checked)
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=64, help="Processes that fill the version if no projector does [one per core]."),
]


@replay.command()
def run(
    names: Names = None,
    every: Every = False,
    reason: Reason = None,
    workers: Workers = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Rebuild projections: fill new versions, compare them with the live ones, and switch to those that are equal.

    A running projector does the work and this command shows its progress. If none runs, this command does the work, up
    to the newest position. Either may stop at any time: the next one to run continues. Reads never stop. Exits 1 unless
    every projection was switched and reaches the newest position, and 3 if a rebuild failed.
    """
    carry_out(
        "run",
        _chosen(names, every=every),
        reason=reason,
        workers=workers,
        database_url=database_url,
        data_dir=data_dir,
        schema=schema,
        installation=installation,
    )


@replay.command()
def accept(
    reason: Annotated[
        str,
        typer.Option("--reason", help="Why the difference is accepted; it is stored.", callback=_checked),
    ],
    names: Names = None,
    every: Every = False,
    workers: Workers = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Switch to the new versions even if they differ from the live ones. If there is no new version, rebuild first.

    Exits as `run` does.
    """
    carry_out(
        "run",
        _chosen(names, every=every),
        accept_difference=reason,
        workers=workers,
        database_url=database_url,
        data_dir=data_dir,
        schema=schema,
        installation=installation,
    )


@replay.command()
def restart(
    names: Names = None,
    every: Every = False,
    reason: Reason = None,
    workers: Workers = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Start over: cancel a rebuild that is under way, then rebuild. Exits as `run` does."""
    carry_out(
        "restart",
        _chosen(names, every=every),
        reason=reason,
        workers=workers,
        database_url=database_url,
        data_dir=data_dir,
        schema=schema,
        installation=installation,
    )


@replay.command()
def pause(
    names: Names = None,
    every: Every = False,
    reason: Reason = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Pause rebuilds until they are resumed, even across restarts. Idempotent."""
    carry_out(
        "pause",
        _chosen(names, every=every),
        reason=reason,
        database_url=database_url,
        data_dir=data_dir,
        schema=schema,
        installation=installation,
    )


@replay.command()
def resume(
    names: Names = None,
    every: Every = False,
    reason: Reason = None,
    workers: Workers = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Resume paused rebuilds where they stopped, and follow them to their end. Exits as `run` does."""
    carry_out(
        "resume",
        _chosen(names, every=every),
        reason=reason,
        workers=workers,
        database_url=database_url,
        data_dir=data_dir,
        schema=schema,
        installation=installation,
    )


@replay.command()
def cancel(
    names: Names = None,
    every: Every = False,
    reason: Reason = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Cancel rebuilds that are under way or have stopped, and drop the new versions. Idempotent."""
    carry_out(
        "cancel",
        _chosen(names, every=every),
        reason=reason,
        database_url=database_url,
        data_dir=data_dir,
        schema=schema,
        installation=installation,
    )


@replay.command("drop-retired")
def drop_retired(
    names: Names = None,
    every: Every = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Drop replaced versions and versions of releases that do not run."""
    carry_out(
        "drop-retired",
        _chosen(names, every=every),
        database_url=database_url,
        data_dir=data_dir,
        schema=schema,
        installation=installation,
    )


@replay.command(WITHOUT_SUBCOMMAND, hidden=True, help=run.__doc__)
def without_subcommand(
    names: Names = None,
    every: Every = False,
    reason: Annotated[str | None, typer.Option(help="Why; stored with the request.")] = None,
    accept_difference: Annotated[str | None, typer.Option(hidden=True)] = None,
    restart: Annotated[bool, typer.Option("--restart", hidden=True)] = False,
    cancel: Annotated[bool, typer.Option("--cancel", hidden=True)] = False,
    pause: Annotated[bool, typer.Option("--pause", hidden=True)] = False,
    resume: Annotated[bool, typer.Option("--resume", hidden=True)] = False,
    drop_retired: Annotated[bool, typer.Option("--drop-retired", hidden=True)] = False,
    workers: Workers = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Do as `run` does, or as the subcommand does that has replaced a flag. Say how that is spelt."""
    chosen = _chosen(names, every=every)
    for option, words in (("--accept-difference", accept_difference), ("--reason", reason)):
        if words is not None and not words.strip():
            raise typer.BadParameter("the reason must not be blank", param_hint=option)
    flags: dict[Act, bool] = {
        "restart": restart,
        "cancel": cancel,
        "pause": pause,
        "resume": resume,
        "drop-retired": drop_retired,
    }
    given = [act for act, is_given in flags.items() if is_given]
    if len(given) > 1:
        raise typer.BadParameter("give only one of --restart, --cancel, --pause, --resume, --drop-retired")
    act: Act = given[0] if given else "run"
    if given or accept_difference is not None:
        projections = ["--all"] if every else chosen
        commands = spelt_anew(act, projections, reason, accept_difference, workers)
        tell_new_spelling(given[0] if given else "accept-difference", commands)
    carry_out(
        act,
        chosen,
        reason=reason,
        accept_difference=accept_difference,
        workers=workers,
        database_url=database_url,
        data_dir=data_dir,
        schema=schema,
        installation=installation,
    )


def _chosen(names: Sequence[str] | None, *, every: bool) -> list[str]:
    for name in names or ():
        if name not in PROJECTIONS:
            raise typer.BadParameter(f"there is no projection {name}; there are {', '.join(PROJECTIONS)}")
    if every == bool(names):
        raise typer.BadParameter(f"name projections ({', '.join(PROJECTIONS)}) or give --all")
    return list(PROJECTIONS) if every else list(dict.fromkeys(names or ()))
