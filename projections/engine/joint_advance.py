"""Advancing several live versions in one transaction.

What each of them writes is as in `batches`: exactly once, by compare-and-set of runner, state and position. Together
they take one beginning, one statement for all positions, one announcement and one commit instead of one each. That was
most of what a small batch cost.

A version that cannot be written stops the whole, so it is named, and whoever advances them goes on without it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.arrays import bigint_array, text_array
from domain.journal.outage import is_lost
from domain.journal.queries import load
from domain.journal.statements import BEGIN, COMMIT, statements_of
from projections.engine.batches import Claim, EventBatch, free_events
from projections.engine.dead_letters import writer
from projections.engine.poison import describe

_SQL = load(__name__)


class Step(NamedTuple):
    """What one version is to write. The rate is in events per second."""

    claim: Claim
    batch: EventBatch
    rate_events_per_second: float

    @property
    def name(self) -> str:
        """The name of the projection."""
        return self.claim.projection.name


class Faltered(Exception):
    """A version could not be written, for a reason that lies with it. Nothing was written for the others either."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(f"{name}: {describe(error)}")
        self.name = name
        self.error = error


def advance_together(connection: Connection[Any], steps: Sequence[Step], channel: str) -> list[Step]:
    """Write the batches of running versions and move their positions, in one transaction; return the steps taken.

    A step is not taken if its claim does not hold, or while somebody else has locked the row of its version. The new
    positions are announced on `channel`. No batch has unreadable events. Raises `Faltered`. Any other exception means
    that nothing was written, or that the connection was lost.
    """
    values = _columns(steps, channel)
    statements = statements_of(connection)
    if not any(step.batch.events for step in steps):
        return _taken(steps, statements.ask(_SQL["move"], values))
    try:
        _, rows = statements.ask_together((BEGIN, {}), (_SQL["move"], values))
        taken = _taken(steps, rows)
        held = {name: held_streams for name, held_streams, _ in rows}
        for step in taken:
            _write(connection, step, held_streams=held[step.name])
        statements.ask(COMMIT, {})
    except BaseException:
        if not connection.closed:
            connection.execute("ROLLBACK")
        raise
    return taken


def _columns(steps: Sequence[Step], channel: str) -> dict[str, Any]:
    claims = [step.claim for step in steps]
    return {
        "names": text_array([claim.projection.name for claim in claims]),
        "shapes": text_array([claim.projection.of_shape for claim in claims]),
        "versions": bigint_array([claim.version for claim in claims]),
        "runners": text_array([str(claim.runner) for claim in claims]),
        "after": bigint_array([step.batch.after for step in steps]),
        "upto": bigint_array([step.batch.upto for step in steps]),
        "rates": text_array([repr(step.rate_events_per_second) for step in steps]),
        "channel": channel,
    }


def _taken(steps: Sequence[Step], rows: Sequence[Any]) -> list[Step]:
    names = {name for name, *_ in rows}
    return [step for step in steps if step.name in names]


def _write(connection: Connection[Any], step: Step, *, held_streams: int) -> None:
    claim, events = step.claim, step.batch.events
    try:
        if held_streams:
            events = free_events(connection, claim, events)
        if events:
            writer(connection, claim.projection, claim.version)(events)
    except Exception as error:
        if is_lost(error):  # that lies with none of them
            raise
        raise Faltered(step.name, error) from error
