"""A kind of finding: its severity, why it matters and what to do."""

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]
"""An error endangers money, history or answers. A warning will become an error, or needs an operator's judgement. An
info is worth knowing, but nothing is wrong."""


class Kind(NamedTuple):
    """What all findings of a code share.

    A command that begins with `tallystick` is for a shell; every other command is for psql. A `{word}` in a command is
    replaced with what the finding is about.
    """

    severity: Severity
    why: str
    remedy: str
    commands: tuple[str, ...] = ()


TAMPERED = (
    "No release writes this: the disk, or somebody with more rights than the service, has changed the journal. Stop"
    " writing, keep the database as it is, and compare it with a backup and with exported copies."
)
"""What to do if the journal is not as any release writes it."""
