"""`tallystick place`: moves a ledger from one installation of a placement to another while both serve."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.commands.installation import DatabaseUrl, DataDir, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

    from domain.placement.installations import Installation
    from domain.placement.mover import Progress
    from domain.placement.whereabouts import Whereabouts

READY_EVENTS = 5_000
"""Read models that lack fewer events are at the head within a second."""

STANDSTILL_SECONDS = 5.0
"""Read models that do not advance for so long are not waited for."""

TELL_SECONDS = 2.0

_WORDS = {
    "begin": "begins",
    "freeze": "stops writes",
    "rest": "copies the rest",
    "leave": "lets it go",
    "arrive": "lets it arrive",
    "done": "has arrived",
}

Ledger = Annotated[str, typer.Argument(help="The ledger to move.")]
On = Annotated[str | None, typer.Option("--on", help="The installation to move it to.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Cancel = Annotated[bool, typer.Option("--cancel", help="Give up the move that is under way.")]


def place(
    ledger: Ledger,
    on: On = None,
    yes: Yes = False,
    cancel: Cancel = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Move a ledger to another installation, or finish or give up a move that was cut off.

    Both installations serve meanwhile. Writes to the ledger are refused for seconds, with 503 and Retry-After. It may
    be killed at any moment and run again.
    """
    from scripts.console import fail, settings_or_exit
    from scripts.serving.database import chosen

    if (on is None) != cancel:
        raise typer.BadParameter("give either --on NAME or --cancel", param_hint="--on")
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    if not settings.is_placement:
        fail(
            "there is one installation, so there is nowhere to move to: name them in TALLYSTICK_INSTALLATIONS"
        )
    with chosen(settings) as placed, _explained(placed):
        if on is not None and on not in [found.name for found in placed]:
            names = ", ".join(found.name for found in placed)
            raise typer.BadParameter(f"there is no installation {on}; there is {names}", param_hint="--on")
        _require_named(placed)
        found = _located(ledger, placed)
        if cancel:
            _cancel(ledger, found)
        elif on == found.at.name and found.bound_for is None:
            _enter(placed, ledger, found.at.name)
            typer.echo(f"{ledger} is on {on}")
        else:
            _move(ledger, found, placed, str(on), is_agreed=yes)


@contextmanager
def _explained(placed: "Sequence[Installation]") -> "Iterator[None]":
    """If a database fails, say which installation's it is and what is wrong with it, and exit 3."""
    import psycopg

    from domain.journal.trouble import trouble_of
    from domain.placement.moves import standing
    from scripts.console import fail

    try:
        yield
    except psycopg.Error as error:
        # The error does not say whose connection it was, and what mends it has the name of a schema in it.
        for name, database in placed:
            try:
                with database.connect("tallystick place") as connection:
                    standing(connection, "")
            except psycopg.Error as found:
                fail(f"{name} could not answer: {trouble_of(found, database).words}")
        fail(trouble_of(error, placed[0].database).words)


def _require_named(placed: "Sequence[Installation]") -> None:
    """Exit 3 if an installation is missing, or has another name than the service gives it.

    A ledger would be entered into the map under a name that no process serves.
    """
    from domain.placement.ledger_map import named
    from scripts.console import fail

    with placed[0].database.connect("tallystick place") as home:
        unnamed = named(home) - {installation.name for installation in placed}
    if unnamed:
        fail(
            f"the map gives ledgers to {', '.join(sorted(unnamed))}, and TALLYSTICK_INSTALLATIONS does not name"
            " that: name each installation as the service does"
        )


def _located(ledger: str, placed: "Sequence[Installation]") -> "Whereabouts":
    from domain.placement.whereabouts import find
    from scripts.console import fail

    found = find(ledger, placed)
    if found is None:
        fail(f"there is no ledger {ledger}")
    return found


def _cancel(ledger: str, found: "Whereabouts") -> None:
    from domain.placement.moves import CannotMove, cancel
    from scripts.commands.installation import operator
    from scripts.console import fail

    try:
        with found.at.database.connect("tallystick place") as connection:
            is_cancelled = cancel(connection, ledger, operator())
    except CannotMove as error:
        fail(str(error))
    if is_cancelled:
        typer.echo(f"the move is cancelled: {ledger} is written on {found.at.name}")
    else:
        typer.echo(f"{ledger} is on {found.at.name}, and no move is under way")


def _move(
    ledger: str,
    found: "Whereabouts",
    placed: "Sequence[Installation]",
    to: str,
    *,
    is_agreed: bool,
) -> None:
    from domain.placement.mover import Differs, Mover
    from domain.placement.moves import CannotMove, Overtaken
    from projections.outbox.following import Successor, await_told, follow
    from scripts.commands.installation import operator
    from scripts.console import fail

    successors: list[Successor] = []

    def bring_along(at_old: "Connection[Any]", at_new: "Connection[Any]") -> None:
        successors.extend(follow(at_old, at_new, ledger))
        if not await_told(at_old, ledger):
            typer.echo(f"{found.at.name} goes on telling of what it has recorded", err=True)

    old, new = found.at, next(each for each in placed if each.name == to)
    if found.bound_for not in (None, to):
        fail(f"{ledger} is being moved to {found.bound_for}: finish that, or cancel it, first")
    if not is_agreed and not _agreed(ledger, old.name, to):
        fail("nothing was done; give --yes to move it without being asked")
    try:
        _require_fit(old)
        _require_fit(new)
        report = Mover(
            ledger,
            old,
            new,
            operator(),
            _teller(),
            _wait_for_read_models,
            bring_along,
        ).run()
    except (CannotMove, Differs) as error:
        fail(str(error))
    except Overtaken:
        fail(f"another program has changed where {ledger} is; look again")
    _enter(placed, ledger, to)
    words = (
        f"{ledger} has moved from {old.name} to {to}: {report.digest.events:,} events, all of them compared"
    )
    if report.frozen_seconds is not None:
        words += f"; writes were refused for {report.frozen_seconds:.1f} s"
    typer.echo(words)
    for successor in successors:
        how = "as a new webhook" if successor.is_new else "as the webhook that is there"
        typer.echo(f"{successor.url} is told of it by {to}, {how} {successor.id}")


def _agreed(ledger: str, old: str, new: str) -> bool:
    """Say what will be done, and ask at a terminal. Elsewhere return False."""
    typer.echo(
        f"{ledger} is on {old}. Its events are copied to {new} while both serve. Then writes to it are refused for"
        f" some seconds, and it is written on {new}. The copies on {old} stay and are no longer read. Whoever is told"
        f" of it by webhooks is told by {new} from then on.",
        err=True,
    )
    return sys.stdin.isatty() and typer.confirm("Move it?", err=True)


def _require_fit(installation: "Installation") -> None:
    """Exit 3 if a move would be cut off between the two places, or a ledger that has moved be written.

    The one happens where a migration is pending, the other while a writer of an older release is connected.
    """
    from domain.journal.migrations import is_up_to_date
    from domain.placement.moves import count_older_writers
    from scripts.console import fail

    with installation.database.connect("tallystick place") as connection:
        is_migrated, older = is_up_to_date(connection), count_older_writers(connection)
    if not is_migrated:
        name = installation.name
        fail(f"{name} lacks migrations of this release: run `tallystick migrate --installation {name}` first")
    if older:
        fail(
            f"{older} writers of an older release use the database of {installation.name}, and would go on writing a"
            " ledger that has moved: end them first"
        )


def _teller() -> "Callable[[Progress], None]":
    tell_at = 0.0

    def tell(progress: "Progress") -> None:
        nonlocal tell_at
        if progress.step in _WORDS:
            typer.echo(f"{_WORDS[progress.step]} at position {progress.head:,}", err=True)
        elif monotonic() > tell_at:
            tell_at = monotonic() + TELL_SECONDS
            words = f"copied up to {progress.position:,} of {progress.head:,}"
            typer.echo("compares" if progress.step == "compare" else words, err=True)

    return tell


def _wait_for_read_models(connection: Any) -> None:
    """Wait until the read models of the new place have nearly all that was copied, unless they stand still."""
    from projections.running.positions import all_progress

    newest, since = -1, monotonic()
    while True:
        seen = [each for each in all_progress(connection) if each.state == "running"]
        behind = [each for each in seen if each.lag_events > READY_EVENTS]
        if not behind:
            return
        position = sum(each.position for each in behind)
        if position != newest:
            newest, since = position, monotonic()
        elif monotonic() - since > STANDSTILL_SECONDS:
            names = ", ".join(each.name for each in behind)
            typer.echo(f"read models that stand still are not waited for: {names}", err=True)
            return
        sleep(0.2)


def _enter(placed: "Sequence[Installation]", ledger: str, name: str) -> None:
    """Enter where the ledger is into home's map. API processes that know the old place are told by it."""
    from domain.placement.ledger_map import take

    with placed[0].database.connect("tallystick place") as home:
        take(home, name, [ledger])
