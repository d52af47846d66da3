"""Chunked submissions: very many independent commands, submitted in parts.

Others have their turn between two parts. Ten thousand commands decided at once would keep everybody waiting for a
second.
"""

from collections.abc import Callable, Sequence
from time import monotonic

from domain.commit.decider import Reply, Result, Submission
from domain.model.commands import Command
from domain.model.errors import JournalUnavailable

PARTS_ON_THEIR_WAY = 2
"""How many parts are submitted at a time, so that one is decided while the one before it is committed."""


class ChunkedSubmission:
    """Commands submitted in parts, in order. `reply` gets the results of all of them once the last part has its own."""

    def __init__(
        self,
        commands: Sequence[Command],
        reply: Reply,
        part_commands: int,
        submit: Callable[[Submission], None],
        forget: Callable[[int], None],
        asked_at_seconds: float | None = None,
    ) -> None:
        """`forget` gets the number of commands that will not be submitted. No `asked_at_seconds`: now."""
        self._commands = commands
        self._reply = reply
        self._part_commands = part_commands
        self._submit = submit
        self._forget = forget
        self._asked_at_seconds = monotonic() if asked_at_seconds is None else asked_at_seconds
        self._submitted = 0
        self._results: list[Result] = []
        self._given_up: list[Result] = []

    def begin(self) -> None:
        """Submit the first parts. Each answer submits the next part."""
        for _ in range(PARTS_ON_THEIR_WAY):
            self._submit_part()

    def _submit_part(self) -> None:
        part = self._commands[self._submitted : self._submitted + self._part_commands]
        self._submitted += len(part)
        if part:
            self._submit(Submission(part, self._answered, asked_at_seconds=self._asked_at_seconds))

    def _answered(self, results: Sequence[Result]) -> None:
        self._results += results
        if isinstance(results[-1], JournalUnavailable) and results[-1].is_of_the_journal:
            self._give_up(results[-1])
        if len(self._results) == len(self._commands):
            self._reply([*self._results, *self._given_up])
        else:
            self._submit_part()

    def _give_up(self, result: Result) -> None:
        """Submit no more parts: each would be tried for as long as the first, and by then nobody waits for them."""
        left = len(self._commands) - self._submitted
        self._commands = self._commands[: self._submitted]
        self._given_up += [result] * left
        self._forget(left)
