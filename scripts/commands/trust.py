"""What a command may be told to trust: keys that may sign, and a saved checkpoint."""

from collections.abc import Sequence
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
        help="A saved checkpoint, as /v1/audit/checkpoint serves it, that the journal must continue",
    ),
]
SavedCheckpoints = Annotated[
    list[Path] | None,
    typer.Option(
        "--checkpoint",
        help="A saved checkpoint, as /v1/audit/checkpoint serves it, that the journal must continue, or a folder of"
        " them; repeat for several. Several show from which position on a history differs",
    ),
]
VerifierKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--verifier-key",
        help="A key to trust, as /v1/audit/verifier-key shows it, or a file of keys; repeat for several",
    ),
]


def trusted(given: list[str] | None) -> list[Verifier]:
    """Return the verifiers for these keys and files of keys. Raise `typer.BadParameter` for anything else."""
    lines = [line for text in given or () for line in _lines(text)]
    try:
        found = [Verifier.parse(line) for line in lines if line.strip()]
    except InvalidNote as error:
        raise typer.BadParameter(
            f"is neither a key nor a file of keys: {error}", param_hint="--verifier-key"
        ) from None
    if given and not found:
        raise typer.BadParameter("contains no key", param_hint="--verifier-key")
    return found


def _lines(text: str) -> list[str]:
    try:
        is_file = Path(text).is_file()
    except (OSError, ValueError):  # too long for a file name, or with a character no name may have
        is_file = False
    return read_text(Path(text)).splitlines() if is_file else [text]


def read_text(path: Path) -> str:
    """Return the text of a file. UTF-16, which Windows sometimes writes, is read too; undecodable bytes become U+FFFD.

    If the file cannot be read, say why and exit 3.
    """
    try:
        found = path.read_bytes()
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}")
    return found.decode("utf-16" if found[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")


def saved_notes(paths: Sequence[Path] | None) -> list[str]:
    """Return the texts of the files and of all files in the folders. Raise `typer.BadParameter` if there are none."""
    files = [file for path in paths or () for file in (sorted(path.iterdir()) if path.is_dir() else (path,))]
    if paths and not files:
        raise typer.BadParameter("contains no checkpoint", param_hint="--checkpoint")
    return [read_text(file) for file in files]


def saved_note(path: Path | None) -> str | None:
    """Return the text of the saved checkpoint, or None if no file is named."""
    return None if path is None else read_text(path)
