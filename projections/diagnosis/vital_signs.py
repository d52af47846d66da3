"""The vital signs of what is promised: deliveries and checkpoints, as ages and counts that cost little to read."""

from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.queries import load

_SQL = load(__name__)


class WitnessSign(NamedTuple):
    """How the witnessing of a log goes: the time since it was last found to follow, and whether it is in dispute."""

    log: str
    unseen_seconds: float
    is_disputed: bool


class VitalSigns(NamedTuple):
    """How deliveries and checkpoints are doing, at one instant.

    `webhooks_enabled` and `webhooks_disabled` count webhooks. `failing_seconds` is how long the enabled webhook that
    fails for longest has acknowledged nothing, 0 if none fails. `undelivered_seconds` is the age of the oldest event
    that an enabled webhook has not acknowledged, 0 if there is none. `overdue_seconds` is for how long the attempt that
    should have been made or ended first has waited, 0 if there is none; webhooks that fail are not asked. `attempts`
    counts attempts by outcome.

    `checkpoint_seconds` is the age of the newest checkpoint, None if there is none. `unsigned_seconds` is the age of
    the oldest event that no checkpoint covers, 0 if every event is covered. `witnessed` are the logs of other
    installations.
    """

    webhooks_enabled: int
    webhooks_disabled: int
    failing_seconds: float
    undelivered_seconds: float
    overdue_seconds: float
    attempts: dict[str, int]
    checkpoint_seconds: float | None
    unsigned_seconds: float
    witnessed: tuple[WitnessSign, ...]


def read_vital_signs(connection: Connection[Any]) -> VitalSigns:
    """Return the vital signs. Each query reads a few rows by an index, however large the tables are."""
    attempts: dict[str, int] = dict(_SQL["attempts"].rows(connection))
    deliveries, checkpoint = (_SQL[name].only(connection) for name in ("deliveries", "checkpoint"))
    witnessed = tuple(_SQL["witnessed"].rows(connection, into=WitnessSign))
    return VitalSigns._make((*deliveries, attempts, *checkpoint, witnessed))
