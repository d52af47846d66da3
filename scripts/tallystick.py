"""The `tallystick` command. Each subcommand is one module, imported only when it is called."""

import sys
from collections.abc import Iterable
from importlib import import_module
from platform import python_version
from typing import Annotated, NoReturn

import structlog
import typer

from domain.release import RELEASE
from scripts.calls import EXAMPLES
from scripts.endings import run

COMMANDS = {
    "serve": "scripts.serving.serve:serve",
    "project": "scripts.commands.project:project",
    "publish": "scripts.commands.project:publish",
    "migrate": "scripts.commands.migrate:migrate",
    "replay": "scripts.commands.replay.command:replay",
    "projections": "scripts.commands.projections:projections",
    "dead-letters": "scripts.commands.dead_letters:dead_letters",
    "payouts": "scripts.commands.payouts:payouts",
    "webhooks": "scripts.commands.webhooks:commands",
    "export": "scripts.commands.export:export",
    "verify": "scripts.commands.verify:verify",
    "import": "scripts.commands.restore:restore",
    "prove": "scripts.commands.prove:prove",
    "verify-proof": "scripts.commands.verify_proof:verify_proof",
    "witnesses": "scripts.commands.witnessing.witnesses:witnesses",
    "report": "scripts.commands.report.command:report",
    "trace": "scripts.commands.trace:trace",
    "stuck": "scripts.commands.stuck:stuck",
    "keys": "scripts.commands.keys:keys",
    "place": "scripts.commands.place:place",
    "simulate-provider": "scripts.commands.simulate_provider:simulate_provider",
    "doctor": "scripts.commands.doctor:doctor",
    "demo": "scripts.commands.developers.demo:demo",
    "tail": "scripts.commands.developers.tail:tail",
    "listen": "scripts.commands.developers.listen:listen",
    "openapi": "scripts.commands.developers.openapi:openapi",
    "mcp": "scripts.commands.developers.mcp:mcp",
    "bench": "scripts.bench.command:bench",
}


def main() -> NoReturn:
    """Run the command named on the command line and exit as `endings` defines."""
    # Standard output carries only the command's result, so logs go to standard error.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    sys.exit(run(lambda: application(_needed(sys.argv[1:2]))))


def _needed(called: list[str]) -> Iterable[str]:
    """Return the commands to load: only the one that is called. All of them take a second, and only help needs them."""
    if called == ["--version"]:
        return ()
    return called if COMMANDS.keys() & called else COMMANDS


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the `tallystick` application with the named subcommands."""
    app = typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    app.callback(epilog=f"For example: {EXAMPLES['doctor']}")(tallystick)
    for name in names:
        module, attribute = COMMANDS[name].split(":")
        command = getattr(import_module(module), attribute)
        epilog = f"For example: {EXAMPLES[name]}"
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, epilog=epilog)
        else:
            app.command(name, epilog=epilog)(command)
    return app


def show_version(is_asked: bool) -> None:
    """Print the release, the Python it runs on and the newest migration it knows, and exit 0."""
    from domain.journal.migrations import latest

    if is_asked:
        typer.echo(f"tallystick {RELEASE}, Python {python_version()}, schema {latest()}")
        raise typer.Exit


def tallystick(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=show_version,
            is_eager=True,
            help="Print the release, the Python and the newest migration, and exit.",
        ),
    ] = False,
) -> None:
    """An event-sourced, double-entry ledger: the service and its operators' tools.

    Every command works on one installation: the one in --data-dir [.tallystick], or your own PostgreSQL with
    --database-url. TALLYSTICK_DATA_DIR and TALLYSTICK_DATABASE_URL set the same. Exit codes: 0 done, 1 warnings, 2
    wrong usage, 3 errors.
    """


if __name__ == "__main__":
    main()
