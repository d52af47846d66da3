"""The spans of a commit: for each request, its wait until its commands are durable, and for the batch, its commit.

A batch serves many traces. Its own span is in the first of them, and the others link to it.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import structlog

from domain.commit.decider import Result, Submission, word_of
from domain.model.commands import Command
from domain.model.errors import LedgerError, Unavailable
from domain.tracing import (
    BATCH_COMMANDS,
    COMMANDS,
    CORRELATION_ID,
    OUTCOME,
    POSITION,
    Attributes,
    Kind,
    Span,
    Tracer,
    is_sampled,
)

_log = structlog.get_logger(__name__)


class Answered(NamedTuple):
    """The commands of one request that were answered together: the last of them, and how many there are."""

    asked_at_seconds: float
    command: Command
    result: Result
    commands: int

    @property
    def name(self) -> str:
        """The name of its span."""
        return f"commit {type(self.command).__name__}"

    @property
    def attributes(self) -> Attributes:
        """What its span tells. An outcome that was recorded earlier or not at all has no position."""
        attributes: dict[str, str | int] = {
            CORRELATION_ID: self.command.context.correlation_id,
            COMMANDS: self.commands,
            OUTCOME: word_of(self.result),
        }
        if not isinstance(self.result, Exception) and self.result.recorded:
            attributes[POSITION] = self.result.position
        return attributes


def tell_commit(
    tracer: Tracer,
    submissions: Sequence[Submission],
    results: Sequence[Result],
    decided_at_seconds: float,
    answered_at_seconds: float,
) -> None:
    """Tell the sampled traces of a batch what became of their commands. Raises nothing: the writer's thread calls it.

    Times are of the monotonic clock. `decided_at_seconds` is the time of the last decision that was committed.
    """
    try:
        _tell(tracer, submissions, results, decided_at_seconds, answered_at_seconds)
    except Exception:  # noqa: BLE001  a fault in telling must not end the writer
        _log.exception("commit could not be traced")


def _tell(
    tracer: Tracer,
    submissions: Sequence[Submission],
    results: Sequence[Result],
    decided_at_seconds: float,
    answered_at_seconds: float,
) -> None:
    batch: Span | None = None
    for traceparent, answered in by_trace(submissions, results).items():
        waiting = tracer.begin(
            Kind.INTERNAL,
            answered.name,
            traceparent,
            answered.attributes,
            began_at_seconds=answered.asked_at_seconds,
            linked=batch.traceparent if batch else None,
        )
        if waiting is None:
            continue
        if batch is None:
            batch = tracer.begin(
                Kind.INTERNAL,
                "commit batch",
                waiting.traceparent,
                {BATCH_COMMANDS: len(results)},
                # Where nothing was committed, the last decision was an earlier batch's.
                began_at_seconds=max(decided_at_seconds, answered.asked_at_seconds),
            )
        waiting.end(ended_at_seconds=answered_at_seconds, error=_fault(answered.result))
    if batch:
        batch.end(ended_at_seconds=answered_at_seconds)


def by_trace(submissions: Sequence[Submission], results: Sequence[Result]) -> dict[str, Answered]:
    """Return the commands of sampled traces by their traceparent, one entry for each request."""
    found: dict[str, Answered] = {}
    for asked_at_seconds, command, result in _answered(submissions, results):
        traceparent = command.context.traceparent
        if traceparent is not None and is_sampled(traceparent):
            before = found.get(traceparent)
            began_at_seconds = before.asked_at_seconds if before else asked_at_seconds
            commands = before.commands + 1 if before else 1
            found[traceparent] = Answered(began_at_seconds, command, result, commands)
    return found


def _answered(
    submissions: Sequence[Submission], results: Sequence[Result]
) -> Iterator[tuple[float, Command, Result]]:
    left = iter(results)
    for submission in submissions:
        of_submission = islice(left, len(submission.commands))
        for command, result in zip(submission.commands, of_submission, strict=True):
            yield submission.asked_at_seconds, command, result


def _fault(result: Result) -> str | None:
    """Return the kind of a fault. A refusal by a rule is none."""
    if isinstance(result, Exception) and not isinstance(result, LedgerError):
        return type(result).__name__
    return result.code if isinstance(result, Unavailable) else None
