"""Processions: parts in order, two on their way at a time, one reply."""

from collections import deque
from collections.abc import Sequence

from domain.commit.chunks import ChunkedSubmission
from domain.commit.decider import Result, Submission
from domain.model.commands import Command, Outcome
from domain.model.errors import JournalUnavailable
from tests.unit.given_when_then import a_posting, credit, debit

COMMANDS: list[Command] = [a_posting(debit("a", 1), credit("b", 1), key=f"k{n}") for n in range(10)]


class Queue:
    """The parts a procession submits, its replies, and how many commands it gave up."""

    def __init__(self) -> None:
        self.waiting: deque[Submission] = deque()
        self.parts: list[Sequence[Command]] = []
        self.replies: list[Sequence[Result]] = []
        self.forgotten = 0

    def begin(self, commands: Sequence[Command]) -> None:
        ChunkedSubmission(commands, self.replies.append, 3, self._put, self._forget).begin()

    def _put(self, submission: Submission) -> None:
        self.waiting.append(submission)
        self.parts.append(submission.commands)

    def _forget(self, commands: int) -> None:
        self.forgotten += commands

    def answer(self, result: Result | None = None) -> None:
        """Answer the oldest part: each command with its own outcome, or all with the same result."""
        submission = self.waiting.popleft()
        submission.reply([result or outcome(command) for command in submission.commands])


def outcome(command: Command) -> Outcome:
    return Outcome(command.own_stream, True, False, 1)


def test_parts_follow_as_others_are_answered_and_the_reply_is_one() -> None:
    queue = Queue()
    queue.begin(COMMANDS)
    assert len(queue.waiting) == 2
    while queue.waiting:
        assert queue.replies == []
        queue.answer()
        assert len(queue.waiting) <= 2
    assert queue.parts == [COMMANDS[:3], COMMANDS[3:6], COMMANDS[6:9], COMMANDS[9:]]
    assert queue.replies == [[outcome(command) for command in COMMANDS]]
    assert queue.forgotten == 0


def test_a_procession_of_one_part_is_that_part() -> None:
    queue = Queue()
    queue.begin(COMMANDS[:3])
    queue.answer()
    assert queue.replies == [[outcome(command) for command in COMMANDS[:3]]]


def test_once_the_journal_is_unreachable_no_further_part_is_tried() -> None:
    queue = Queue()
    queue.begin(COMMANDS)
    unreachable = JournalUnavailable("unreachable")
    queue.answer()
    queue.answer(unreachable)
    queue.answer()
    assert queue.parts == [COMMANDS[:3], COMMANDS[3:6], COMMANDS[6:9]]
    known = [outcome(command) for command in COMMANDS]
    assert queue.replies == [[*known[:3], *[unreachable] * 3, *known[6:9], unreachable]]
    assert queue.forgotten == 1


def test_the_last_parts_may_be_unreachable() -> None:
    queue = Queue()
    queue.begin(COMMANDS)
    unreachable = JournalUnavailable("unreachable")
    for result in (None, None, unreachable, unreachable):
        queue.answer(result)
    assert [type(result) for result in queue.replies[0]] == [Outcome] * 6 + [JournalUnavailable] * 4
    assert queue.forgotten == 0


def test_what_one_command_meets_ends_nothing() -> None:
    queue = Queue()
    queue.begin(COMMANDS)
    queue.answer(JournalUnavailable("newer_version"))
    while queue.waiting:
        queue.answer()
    assert len(queue.replies[0]) == len(COMMANDS)
