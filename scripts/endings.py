"""How a command ends: with an exit code shared by all commands and one sentence that says why, without a traceback.

| code | means |
|---|---|
| 0 | done, and nothing is wrong |
| 1 | a warning: something was found or was left undone, and the command said what |
| 2 | the command was called wrongly; nothing was done |
| 3 | an error: it could not be done, or something is wrong |
| 130 | the command was interrupted |
| 141 | the reader of its output has stopped reading |
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

import typer

from domain.model.errors import LedgerError

DONE, WARNINGS, USAGE, ERRORS, INTERRUPTED, UNREAD = 0, 1, 2, 3, 130, 141
"""130 and 141 are the codes a shell gives a program ended by SIGINT and by SIGPIPE."""


def warn(sentence: str) -> NoReturn:
    """Print what was found or left undone and exit 1."""
    typer.echo(f"tallystick: {sentence}", err=True)
    raise typer.Exit(WARNINGS)


def run(load: Callable[[], typer.Typer], arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code. Without `arguments`, run this process's command line.

    `load` returns the command. It may take a second, in which the caller may interrupt it.
    """
    try:
        app = load()
        _let_closed_pipes_through()
        status = _called(app, arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        _read_no_more()
        return UNREAD
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said in a sentence
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            _read_no_more()
            return UNREAD
        return _say(sentence_of(error), ERRORS)
    return _say("it was interrupted", INTERRUPTED) if status == INTERRUPTED else status


def sentence_of(error: Exception) -> str:
    """Return in one line what stopped a command. For a fault of this program, include its place in the code."""
    if type(error).__module__.split(".")[0] == "psycopg":
        return f"the database refuses: {_line(error)}"
    if isinstance(error, OSError):
        return f"{error.filename or 'output or input'}: {error.strerror or _line(error)}"
    if isinstance(error, LedgerError):
        return _line(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.relpath(place.filename)}:{place.lineno}"
    return f"a fault of this program: {type(error).__name__}: {_line(error)} ({where})"


def _called(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    command = typer.main.get_command(app)
    try:
        # `main` would use its own exit codes for interruption and closed pipes.
        with command.make_context(
            "tallystick", list(sys.argv[1:] if arguments is None else arguments)
        ) as context:
            command.invoke(context)
    except typer.Exit as ended:
        return int(ended.exit_code)
    except (typer.Abort, EOFError):
        return INTERRUPTED
    except Exception as error:
        # Errors of typer print themselves, with the usage of the command.
        show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
        if show is None or code is None:
            raise
        show()
        return int(code)
    return DONE


def _say(sentence: str, status: int) -> int:
    with suppress(OSError):  # nobody is reading
        typer.echo(f"tallystick: {sentence}", err=True)
    _read_no_more()
    return status


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read_no_more() -> None:
    """Redirect unwritable streams to the null device, so that the interpreter does not fail on them at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _let_closed_pipes_through() -> None:
    """Make rich raise broken pipes instead of ending the process with its own exit code."""
    if "rich.console" in sys.modules:
        from rich.console import Console

        def raise_it(console: Console) -> None:
            raise sys.exception() or BrokenPipeError()

        setattr(Console, "on_broken_pipe", raise_it)  # noqa: B010 - mypy takes it for a mistake
