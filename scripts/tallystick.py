"""The `tallystick` command. One module per command; a command's module is imported when it is called."""

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import NoReturn

import structlog
import typer

from scripts.calls import EXAMPLES
from scripts.endings import run

COMMANDS = {
    "serve": "scripts.serving.serve:serve",
    "project": "scripts.commands.project:project",
    "publish": "scripts.commands.project:publish",
    "migrate": "scripts.commands.migrate:migrate",
    "replay": "scripts.commands.replay:replay",
    "projections": "scripts.commands.projections:projections",
    "dead-letters": "scripts.commands.dead_letters:dead_letters",
    "payouts": "scripts.commands.payouts:payouts",
    "webhooks": "scripts.commands.webhooks:commands",
    "export": "scripts.commands.export:export",
    "verify": "scripts.commands.verify:verify",
    "import": "scripts.commands.restore:restore",
    "prove": "scripts.commands.prove:prove",
    "verify-proof": "scripts.commands.verify_proof:verify_proof",
    "report": "scripts.commands.report.command:report",
    "trace": "scripts.commands.trace:trace",
    "stuck": "scripts.commands.stuck:stuck",
    "keys": "scripts.commands.keys:keys",
    "simulate-provider": "scripts.commands.simulate_provider:simulate_provider",
    "doctor": "scripts.commands.doctor:doctor",
    "bench": "scripts.bench.command:bench",
}


def main() -> NoReturn:
    """Run the command that the command line names, and end as `endings` says."""
    # Standard output is the command's own, whatever is logged meanwhile.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    called = [name for name in sys.argv[1:2] if name in COMMANDS]
    sys.exit(run(lambda: application(called or COMMANDS)))


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command with some of its subcommands."""
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


def tallystick() -> None:
    """An event-sourced, double-entry ledger: the service and the tools of those who operate it.

    Each command works on the installation of --data-dir [.tallystick] or, with --database-url, on a PostgreSQL of
    yours, also by TALLYSTICK_DATA_DIR and TALLYSTICK_DATABASE_URL. Each ends with 0 when done, 1 for warnings, 2 if it
    was called wrongly, 3 for errors.
    """


if __name__ == "__main__":
    main()
