"""Settling a dispute: an operator decides how a log goes on that showed something that does not follow."""

from typing import Any

from psycopg import Connection

from domain.model.events import Context
from domain.model.installation.checkpoints import CheckpointDisputeSettled, Decision, WitnessedLog
from projections.witnessing.judgement import disputed_checkpoint
from projections.witnessing.logs import read_logs, record


class NoDispute(Exception):
    """The log is in no dispute, or it is not known."""


def settle(connection: Connection[Any], name: str, decision: Decision, reason: str, by: Context) -> None:
    """Record the decision of an operator about a log in dispute. The next look is judged by it.

    `kept`: what was witnessed before still counts, so the log must show it again. `accepted`: the log goes on from the
    disputed checkpoint, and what was witnessed before no longer binds it. Raises `NoDispute`, `NotWitnessed` if the
    disputed note is not even signed by a key that the log stated, and `JournalUnavailable`.
    """
    log = read_logs(connection, name).get(name)
    if log is None or log.dispute is None:
        raise NoDispute(name)
    event = _settled(log, decision, reason)
    if not record(connection, name, log, lambda _: event, by):
        raise NoDispute(name)


def _settled(log: WitnessedLog, decision: Decision, reason: str) -> CheckpointDisputeSettled:
    origin, size, root, note, verifiers = log.origin, log.size, log.root, log.note, log.verifiers
    if decision == "accepted" and log.dispute is not None:
        (origin, size, root), signers = disputed_checkpoint(log.dispute)
        note, verifiers = log.dispute.disputed, tuple(map(str, signers))
    return CheckpointDisputeSettled(
        origin=origin,
        size=size,
        root=root.hex(),
        note=note,
        verifiers=verifiers,
        decision=decision,
        reason=reason,
    )
