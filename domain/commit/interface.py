"""What takes commands: the group commit of this process, or what passes them on to that of another."""

from collections.abc import Sequence
from typing import Protocol

from domain.commit.decider import Reply
from domain.model.commands import Command


class Commit(Protocol):
    """Decides and commits commands. `GroupCommit` says what each of these means."""

    @property
    def position(self) -> int:
        """The newest position of the journal that is known to be committed."""

    @property
    def waiting_commands(self) -> int:
        """How many commands wait here for the next batches."""

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no more commands are taken now."""

    def submit(
        self,
        commands: Sequence[Command],
        reply: Reply,
        *,
        all_or_none: bool = False,
        dry_run: bool = False,
        asked_at_seconds: float | None = None,
    ) -> None:
        """Queue commands to be decided in order, in one transaction."""
