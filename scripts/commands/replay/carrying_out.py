"""Requests rebuilds at a terminal and shows their progress; pauses, resumes and cancels them, and drops versions."""

import gc
import getpass
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from domain.journal.database import Database
from domain.model.errors import LedgerError
from projections.diagnosis.glossary import term
from projections.engine.poison import describe
from projections.rebuilding.rebuilder import rebuild_together
from projections.rebuilding.requests import (
    Rebuild,
    cancel_rebuild,
    drop_cancelled,
    pause_rebuild,
    resume_rebuild,
)
from projections.rebuilding.unread_versions import UnreadVersion, drop_unread
from projections.registry import install
from projections.running.catching_up import catch_up
from projections.running.positions import Progress as Standing
from scripts.calls import WHO_PROJECTS
from scripts.commands.installation import only
from scripts.console import settings_or_exit
from scripts.endings import ERRORS, WARNINGS
from scripts.serving.database import connected, existing
from scripts.serving.processes import COLLECT_AFTER_OBJECTS

Act = Literal["run", "restart", "resume", "pause", "cancel", "drop-retired"]

PATIENCE_SECONDS = 2.0
"""How long a rebuild is left to a projector, which looks twice a second, before this process carries it out."""

_CONTROLS: Mapping[Act, tuple[Callable[..., None], str]] = {
    "restart": (cancel_rebuild, "No rebuild of {} is under way."),
    "cancel": (cancel_rebuild, "No rebuild of {} is under way."),
    "pause": (pause_rebuild, "The rebuild of {} is paused."),
    "resume": (resume_rebuild, "The rebuild of {} is resumed."),
}
"""What an act does to each rebuild first, and what it then prints."""

_output = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


def carry_out(
    act: Act,
    chosen: Sequence[str],
    *,
    reason: str | None = None,
    accept_difference: str | None = None,
    workers: int | None = None,
    database_url: str | None = None,
    data_dir: Path | None = None,
    schema: str | None = None,
    installation: str | None = None,
) -> None:
    """Carry out an act on the rebuilds of the chosen projections.

    `run`, `restart` and `resume` wait until the rebuilds end. A running projector carries them out, and this shows its
    progress. If none runs, they are carried out here, up to the newest position. Exits 1 unless every projection was
    switched and reaches the newest position, and 3 if a rebuild failed.
    """
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    if settings.needs_embedded:
        existing(settings.data_dir)
    with _warnings_alone(), connected(settings, only(settings, installation)) as database:
        try:
            install(database)
            if act == "drop-retired":
                _drop_retired(database, chosen)
            if act in _CONTROLS:
                _control(database, chosen, *_CONTROLS[act], reason)
            if act not in ("run", "restart", "resume"):
                return
            # Where no projector has ever run, this makes the live version to compare with.
            catch_up(database, chosen)
            outcomes = _rebuild(database, chosen, reason, accept_difference, workers)
            switched = [outcome.name for outcome in outcomes if outcome.switched]
            left_behind = catch_up(database, switched)
        except LedgerError as error:
            _fail(error.detail)
    for outcome in outcomes:
        _tell(outcome)
    for seen in left_behind:
        _tell_late(seen)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(ERRORS)
    if left_behind or len(switched) < len(outcomes):
        raise typer.Exit(WARNINGS)


@contextmanager
def _warnings_alone() -> Iterator[None]:
    """Log only warnings: progress is printed."""
    former = structlog.get_config()
    structlog.configure(
        processors=[_without_traceback, *former["processors"]],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**former)


def _without_traceback(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if isinstance(error := event.pop("exc_info", None), Exception) or (error and (error := sys.exception())):
        event["error"] = describe(error)
    return event


def _fail(message: str) -> NoReturn:
    _errors.print(message, markup=False)
    raise typer.Exit(ERRORS)


def _say(words: str) -> None:
    _output.print(words, markup=False, soft_wrap=True)


def _actor() -> str:
    """Return the user at the terminal, as the operating system names it."""
    try:
        return f"terminal:{getpass.getuser()}"
    except (KeyError, OSError):
        return "terminal"


def _control(
    database: Database, names: Sequence[str], act: Callable[..., None], words: str, reason: str | None
) -> None:
    with database.connect("tallystick replay") as connection:
        for name in names:
            act(connection, name, _actor(), reason)
            _say(words.format(name))
        drop_cancelled(connection)


def _drop_retired(database: Database, names: Sequence[str]) -> None:
    for name in names:
        dropped, kept = drop_unread(database, name, _actor())
        for unread in dropped:
            _say(f"Dropped {_named(unread)}.")
        for unread in kept:
            _say(f"Kept {_named(unread)}: it is in use.")
        if not dropped and not kept:
            _say(f"There is no version of {name} but the live one.")


def _named(unread: UnreadVersion) -> str:
    return f"version {unread.version} of {unread.name} (shape {unread.shape}, {unread.state})"


def _rebuild(
    database: Database,
    names: Sequence[str],
    reason: str | None,
    accept_difference: str | None,
    workers: int | None,
) -> list[Rebuild]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} events/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
    )
    with Progress(*columns, console=_output) as bar:
        tasks: dict[str, TaskID] = {
            name: bar.add_task(f"replay {name}", total=None, rate=0.0, state="") for name in names
        }

        def report(rebuilds: Sequence[Rebuild]) -> None:
            for rebuild in rebuilds:
                bar.update(
                    tasks[rebuild.name],
                    completed=rebuild.position,
                    total=rebuild.target,
                    rate=rebuild.rate_events_per_second,
                    state=rebuild.state,
                )

        return rebuild_together(
            database,
            names,
            requested_by=_actor(),
            reason=reason,
            accept_difference=accept_difference,
            report=report,
            workers=workers,
            patience_seconds=PATIENCE_SECONDS,
        )


def _tell(outcome: Rebuild) -> None:
    if outcome.comparisons:
        _say(f"Compared at position {outcome.compared_position}, where both versions stood:")
        for comparison in outcome.comparisons:
            _say(f"- {comparison}")
    if outcome.difference_expected:
        _say(f"A difference can be expected: {outcome.difference_expected}.")
    _say(_verdict(outcome))


def _tell_late(seen: Standing) -> None:
    """Say why a rebuilt projection does not reach the head."""
    where = f"{seen.name} is {term('projection', seen.state).words} at {seen.position} of {seen.head}"
    if seen.state == "running":
        why = seen.last_error or f"if nobody advances it, {WHO_PROJECTS}"
    else:
        why = seen.last_error or "it does not advance until it is resumed"
    _errors.print(f"{where}: {why}.", markup=False, soft_wrap=True)


def _verdict(outcome: Rebuild) -> str:
    name, version, replaced = outcome.name, outcome.version, outcome.replaced_version
    match outcome.state:
        case "switched" if replaced is None:
            return (
                f"Version {version} of {name} is the first of its shape: there was none to compare it with."
            )
        case "switched":
            accepted = "" if outcome.equal else f" although it differs, because: {outcome.accept_difference}"
            return f"Version {version} of {name} replaces {replaced}{accepted}."
        case "differing":
            return (
                f"Not switched: version {replaced} of {name} stays live, and version {version} is kept for inspection."
                f" `tallystick replay {name}` rebuilds it anew, `tallystick replay accept {name} --reason WHY` switches"
                f" to it all the same, and `tallystick replay cancel {name}` drops it."
            )
        case "failed":
            return f"Not switched: version {version} of {name} has failed: {outcome.last_error}."
        case "paused":
            return (
                f"The rebuild of {name} is paused at {outcome.position}:"
                f" `tallystick replay resume {name}` continues it."
            )
    return f"The rebuild of {name} was cancelled by {outcome.controlled_by}."
