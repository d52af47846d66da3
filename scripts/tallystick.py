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
    "serve": "scripts.serve:serve",
    "project": "scripts.project:project",
    "publish": "scripts.project:publish",
    "migrate": "scripts.migrate:migrate",
    "replay": "scripts.replay:replay",
    "projections": "scripts.projection_controls:projections",
    "dead-letters": "scripts.dead_letters:dead_letters",
    "payouts": "scripts.payouts:payouts",
    "webhooks": "scripts.webhooks:commands",
    "export": "scripts.export:export",
    "verify": "scripts.verify:verify",
    "import": "scripts.restore:restore",
    "prove": "scripts.prove:prove",
    "verify-proof": "scripts.verify_proof:verify_proof",
    "report": "scripts.report:report",
    "trace": "scripts.trace:trace",
    "stuck": "scripts.stuck:stuck",
    "keys": "scripts.keys:keys",
    "simulate-provider": "scripts.simulate_provider:simulate_provider",
    "doctor": "scripts.doctor.command:doctor",
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
