"""What a command is given to trust: keys that may sign, and a checkpoint that was saved."""

from pathlib import Path
from typing import Annotated

import typer

from domain.transparency.signed_notes import InvalidNote, Verifier
from scripts.console import fail

SavedCheckpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        dir_okay=False,
        help="A signed checkpoint of before, as /v1/audit/checkpoint serves it, which it must go on from",
    ),
]
VerifierKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--verifier-key",
        help="A key to trust, as /v1/audit/verifier-key shows it, or a file of such; repeat for several",
    ),
]


def trusted(given: list[str] | None) -> list[Verifier]:
    """Return the verifiers of keys and of files of keys; raise `typer.BadParameter` for what is neither."""
    lines = [line for text in given or () for line in _lines(text)]
    try:
        found = [Verifier.parse(line) for line in lines if line.strip()]
    except InvalidNote as error:
        raise typer.BadParameter(
            f"is no key and no file of keys: {error}", param_hint="--verifier-key"
        ) from None
    if given and not found:
        raise typer.BadParameter("has no key in it", param_hint="--verifier-key")
    return found


def _lines(text: str) -> list[str]:
    try:
        is_file = Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a character that no name has
        is_file = False
    return read_text(Path(text)).splitlines() if is_file else [text]


def read_text(path: Path) -> str:
    """Return the text of a file; what is not UTF-8 stands out in it as U+FFFD. Windows writes UTF-16 at times.

    Where it cannot be read, says so and exits 3.
    """
    try:
        found = path.read_bytes()
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}")
    return found.decode("utf-16" if found[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")


def saved_note(path: Path | None) -> str | None:
    """Return the text of the file of a checkpoint, None if there is none."""
    return None if path is None else read_text(path)
