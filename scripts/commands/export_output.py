"""Exports as files: how a command writes one and how it opens one."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from domain.transparency.export_format import Malformed
from projections.exports.export_file import ExportFile
from scripts.console import fail

STANDARD = Path("-")
"""Stands for standard input or standard output."""


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """A file to write. It replaces an existing one only once all of it is on the disk. `-` is standard output.

    If it cannot be written, this says why, exits 3 and leaves nothing behind.
    """
    if path == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.is_dir():
        fail(f"{path} cannot be written: it is a folder")
    try:
        file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
    try:
        with file:
            yield file.file
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)
    except BaseException as error:
        os.unlink(file.name)
        if isinstance(error, OSError):
            fail(f"{path} cannot be written: {error.strerror}")
        raise


def text_of(path: Path) -> str:
    """Return the text of a file. If it cannot be read, say why and exit 3."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        fail(f"{path} cannot be read: it is not text")


@contextmanager
def opened(path: Path) -> Iterator[ExportFile]:
    """An export to read; `-` is standard input. If it is not a whole export, say why and exit 3."""
    import typer

    try:
        with _seekable(path) as file:
            yield ExportFile(file)
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}")
    except Malformed as error:
        typer.echo(f"export_malformed: {path} is not a whole export: {error}", err=True)
        raise typer.Exit(3) from None


@contextmanager
def _seekable(path: Path) -> Iterator[IO[bytes]]:
    """The file, or a copy of what is no regular file and could not be mapped: standard input, a pipe, /dev/null."""
    with nullcontext(sys.stdin.buffer) if path == STANDARD else path.open("rb") as given:
        if path != STANDARD and path.is_file():
            yield given
            return
        with tempfile.TemporaryFile() as spooled:
            shutil.copyfileobj(given, spooled)
            spooled.flush()
            yield spooled
