"""`tallystick replay`: rebuilds a projection beside the live one, and puts it in its place."""

import gc
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, NoReturn

import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from domain.errors import ProjectionNotFound
from domain.journal.database import Database
from projections import install
from projections.rebuild import Outcome, RebuildRefused, discard, rebuild
from projections.register import PROJECTIONS
from scripts.connection import existing
from scripts.embedded_postgres import EmbeddedPostgresError, attached
from scripts.workers import COLLECT_AFTER_OBJECTS

_output = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


def replay(
    name: Annotated[str, typer.Argument(help=f"The projection: {', '.join(PROJECTIONS)}.")],
    accept_difference: Annotated[
        str | None,
        typer.Option(
            metavar="REASON", help="Switch although the new version differs; the reason is recorded."
        ),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Do not resume an interrupted replay.")] = False,
    discard_unfinished: Annotated[
        bool, typer.Option("--discard", help="Only drop what an interrupted or refused replay has left.")
    ] = False,
    database_url: Annotated[str | None, typer.Option(envvar="TALLYSTICK_DATABASE_URL")] = None,
    data_dir: Annotated[Path, typer.Option(envvar="TALLYSTICK_DATA_DIR")] = Path(".tallystick"),
    schema: Annotated[str, typer.Option(envvar="TALLYSTICK_SCHEMA")] = "tallystick",
) -> None:
    """Rebuild a projection beside the live one, compare the two, and switch to the new one if they are equal.

    The service may run all the while: reads never stop, and its projector follows the switch. Interrupted, it
    resumes when it is run again. Ends with 1 if the versions differ or the replay cannot be made.
    """
    if name not in PROJECTIONS:
        raise typer.BadParameter(f"there is no projection {name}; there are {', '.join(PROJECTIONS)}")
    if accept_difference is not None and not accept_difference.strip():
        raise typer.BadParameter("a reason in words is wanted", param_hint="--accept-difference")
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    with ExitStack() as stack:
        try:
            url = database_url or stack.enter_context(attached(existing(data_dir)))
            database = Database(url, schema)
            install(database)
            if discard_unfinished:
                _output.print(f"Dropped {discard(database, name)} unfinished version(s) of {name}.")
                return
            outcome = _rebuild(database, name, accept_difference, restart)
        except psycopg.errors.UndefinedTable:
            _fail("The database was not migrated: run `tallystick migrate` first.")
        except psycopg.OperationalError as error:
            _fail(f"The database cannot be reached: {error}\nRun the replay again to resume it.")
        except (RebuildRefused, ProjectionNotFound, EmbeddedPostgresError) as error:
            _fail(str(error))
    _tell(outcome, accept_difference)
    if not outcome.switched:
        raise typer.Exit(1)


def _fail(message: str) -> NoReturn:
    _errors.print(message, markup=False)
    raise typer.Exit(1)


def _rebuild(database: Database, name: str, accept_difference: str | None, restart: bool) -> Outcome:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} events/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_output) as bar:
        task = bar.add_task(f"replay {name}", total=None, rate=0.0)

        def report(position: int, target: int, rate: float) -> None:
            bar.update(task, completed=position, total=target, rate=rate)

        return rebuild(database, name, report=report, accept_difference=accept_difference, restart=restart)


def _tell(outcome: Outcome, reason: str | None) -> None:
    say = _output.print
    say(f"Compared at position {outcome.position}, where both versions stood:", markup=False, soft_wrap=True)
    for comparison in outcome.comparisons:
        say(f"- {comparison}", markup=False, soft_wrap=True)
    if outcome.switched:
        accepted = "" if outcome.equal else f" although it differs, because: {reason}"
        words = f"Version {outcome.version} of {outcome.name} replaces {outcome.replaced_version}{accepted}."
    else:
        words = (
            f"Not switched: version {outcome.replaced_version} of {outcome.name} stays live, and version"
            f" {outcome.version} is kept for inspection. Replay again to rebuild it anew,"
            " with --accept-difference REASON to switch to it all the same, or with --discard to drop it."
        )
    say(words, markup=False, soft_wrap=True)
