"""The queue of the write path: submissions wait here for the next batch, bounded by number and by bytes.

Large submissions that may fail independently are put part by part, so that other commands come between the parts.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from time import monotonic

from domain.commit.chunks import ChunkedSubmission
from domain.commit.decider import Reply, Result, Submission
from domain.commit.patience import Patience, PendingAnswer
from domain.journal.weights import weight_of_commands
from domain.model.commands import Command
from domain.model.errors import JournalUnavailable, Overloaded

MAX_BATCH_COMMANDS = 1_000
MAX_WAITING_COMMANDS = 20_000
MAX_WAITING_BYTES = 64 * 1024**2
"""Of what waits, and of one submission more: the largest batch must find its turn beside what others ask for.

Who asked is answered in time, also when nothing is recorded, and then asks again. What was asked first still waits.
"""
# Every request is answered within 15 s of its arrival (api/README.md, Problems). The other 2 s are for its way in and
# out.
PATIENCE_SECONDS = 13.0
# With fewer commands, waiting for the commit gathers a larger batch, which saves more than deciding meanwhile.
MIN_COMMANDS_MEANWHILE = 200
# Callers that were just answered tend to ask again at once, and one commit of many costs much less than two of few.
# With 64 callers that each wait for their answer, lingering raises the throughput of a saturated machine by a tenth and
# more, and shortens their wait.
LINGER_SECONDS = 0.004
MIN_COMMANDS_TO_LINGER_FOR = 8


class SubmissionQueue:
    """The submissions that wait for the writer's thread. Callers put from any thread; one thread collects."""

    def __init__(self, patience: Patience) -> None:
        """`patience` answers the callers that would wait for too long."""
        self._patience = patience
        self._waiting: deque[Submission] = deque()
        self._waiting_commands = 0
        self._later_commands = 0
        self._waiting_bytes = 0
        self._last_commands = 0
        self._awaited = 1
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._stopping = False

    @property
    def waiting_commands(self) -> int:
        """How many commands wait for the next batches."""
        return self._waiting_commands + self._later_commands

    @property
    def waiting_bytes(self) -> int:
        """About how much memory the commands take that wait for the next batches."""
        return self._waiting_bytes

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no more commands are taken now."""
        return self.waiting_commands >= MAX_WAITING_COMMANDS or self._waiting_bytes >= MAX_WAITING_BYTES

    def put(
        self,
        commands: Sequence[Command],
        reply: Reply,
        *,
        all_or_none: bool = False,
        dry_run: bool = False,
        asked_at_seconds: float | None = None,
    ) -> None:
        """Queue commands; see `GroupCommit.submit`.

        Raises `JournalUnavailable` once stopping, and `Overloaded` if too many commands wait.
        """
        with self._lock:
            if self._stopping:
                raise JournalUnavailable("stopping")
            waiting = self.waiting_commands
            if waiting and (self.is_full or waiting + len(commands) > MAX_WAITING_COMMANDS):
                raise Overloaded
            weight = weight_of_commands(commands)
            self._waiting_bytes += weight
            if len(commands) <= MAX_BATCH_COMMANDS or all_or_none or dry_run:
                asked_at_seconds = monotonic() if asked_at_seconds is None else asked_at_seconds
                self._put(commands, reply, all_or_none, dry_run, asked_at_seconds, weight)
            else:
                self._later_commands += len(commands)
                last = partial(self._reply_to_last, reply, weight)
                ChunkedSubmission(
                    commands, last, MAX_BATCH_COMMANDS, self._put_later, self._forget_later, asked_at_seconds
                ).begin()

    def collect(self, committing: "Future[None] | None" = None) -> list[Submission]:
        """Return the waiting submissions, waiting for some.

        During the commit `committing`: many commands, or nothing once it is done. Nothing once stopping, too.
        """
        with self._lock:
            self._awaited = MIN_COMMANDS_MEANWHILE if committing else 1
            while not self._enough_waits(committing):
                self._changed.wait()
            if committing and self._waiting_commands < MIN_COMMANDS_MEANWHILE:
                return []
            if not committing:
                self._linger()
            self._last_commands = 0
            return self._take(MAX_BATCH_COMMANDS)

    def collect_more(self, commands: int) -> list[Submission]:
        """Return the next submissions for a batch that has so many commands, without waiting for any."""
        with self._lock:
            return self._take(MAX_BATCH_COMMANDS - commands)

    def is_idle_for(self, seconds: float) -> bool:
        """Wait until something waits, for so long at most, and not at all once stopping; tell whether nothing came."""
        with self._lock:
            self._awaited = 1
            if not self._enough_waits(None):
                self._changed.wait(seconds)
            return not self._waiting

    def is_over(self) -> bool:
        """Whether nothing more will come. If false, nothing was collected because `Patience` had answered it all."""
        with self._lock:
            return self._stopping and not self._waiting

    def close(self) -> None:
        """Take no more commands."""
        with self._lock:
            self._stopping = True
            self._changed.notify()

    def wake(self, _: "Future[None]") -> None:
        """Have `collect` look again, because a commit is done."""
        with self._lock:
            self._changed.notify()

    def _take(self, most: int) -> list[Submission]:
        submissions: list[Submission] = []
        commands = 0
        while self._waiting and commands < most:
            submission = self._waiting.popleft()
            self._waiting_commands -= len(submission.commands)
            self._waiting_bytes -= submission.weight
            if not is_answered(submission):
                submissions.append(submission)
                commands += len(submission.commands)
        self._last_commands += commands
        return submissions

    def _put(
        self,
        commands: Sequence[Command],
        reply: Reply,
        all_or_none: bool,
        dry_run: bool,
        asked_at_seconds: float,
        weight: int,
    ) -> None:
        """Queue the members of a submission, to be answered in time."""
        answer = self._patience.answer(reply, len(commands), asked_at_seconds + PATIENCE_SECONDS)
        self._waiting.append(Submission(commands, answer, all_or_none, dry_run, asked_at_seconds, weight))
        self._waiting_commands += len(commands)
        if self._waiting_commands >= self._awaited:
            self._changed.notify()

    def _put_later(self, submission: Submission) -> None:
        with self._lock:
            self._forget_later(len(submission.commands))
            self._put(*submission)

    def _forget_later(self, commands: int) -> None:
        with self._lock:
            self._later_commands -= commands

    def _reply_to_last(self, reply: Reply, weight: int, results: Sequence[Result]) -> None:
        """Answer commands that were put part by part: until then all of them are kept."""
        with self._lock:
            self._waiting_bytes -= weight
        reply(results)

    def _enough_waits(self, committing: "Future[None] | None") -> bool:
        is_over = committing.done() if committing else self._stopping
        return is_over or self._waiting_commands >= self._awaited

    def _linger(self) -> None:
        """If the last batch was large, wait a moment until nearly as many commands wait again."""
        if self._last_commands >= MIN_COMMANDS_TO_LINGER_FOR:
            self._awaited = self._last_commands * 7 // 8
            self._changed.wait_for(lambda: self._enough_waits(None), LINGER_SECONDS)


def is_answered(submission: Submission) -> bool:
    """Tell whether the caller was told that the journal is unavailable."""
    return isinstance(submission.reply, PendingAnswer) and submission.reply.is_given


def is_much(submissions: Sequence[Submission]) -> bool:
    """Tell whether these are so many commands that it pays to decide them while the last batch is being committed."""
    return sum(len(submission.commands) for submission in submissions) >= MIN_COMMANDS_MEANWHILE
