"""Turnovers: the sums of posted entries by minute, hour and day, on either clock.

The projection `entries` keeps them beside the entries, so that the cost of a sum up to any time grows with the number
of spans and not of entries. Sums are added up within a batch first, so most batches change few rows.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from domain.model.events import Recorded
from domain.model.streams import ledger_of
from domain.model.times import Instant
from domain.model.transactions import Posted
from projections.engine.projection import Queries

WHOLE_LEDGER = ""
"""Takes the account's place in sums over all accounts of a ledger."""

_Key = tuple[str, str, str, str, str, bool]
_Sums = defaultdict[_Key, list[int]]


def turn_over(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Add the entries that transactions posted to the sums of their spans of time."""
    sums = _sums(events)
    columns = [list(column) for column in zip(*sums, strict=True)]
    sides = [list(side) for side in zip(*sums.values(), strict=True)]
    queries["turn_over"].run(connection, [*columns, *sides], prepare=True)


def _sums(events: Sequence[Recorded]) -> _Sums:
    """Return debits and credits by ledger, account, asset, clock, minute, and whether exactly on the minute."""
    sums: _Sums = defaultdict(lambda: [0, 0])
    for recorded in events:
        event, recorded_at = recorded.event, recorded.envelope.recorded_at
        assert isinstance(event, Posted)
        if event.effective_at == recorded_at:
            _add(sums, recorded.stream, event, "both", recorded_at)
        else:
            _add(sums, recorded.stream, event, "recorded", recorded_at)
            _add(sums, recorded.stream, event, "effective", event.effective_at)
    return sums


def _add(sums: _Sums, stream: str, event: Posted, clock: str, time: Instant) -> None:
    ledger, minute, on_the_minute = ledger_of(stream), time[:16] + "Z", time[16:] == ":00.000000Z"
    for entry in event.entries:
        is_credit = entry.direction == "credit"
        sums[ledger, WHOLE_LEDGER, entry.asset, clock, minute, on_the_minute][is_credit] += entry.amount
        if clock != "both":
            sums[ledger, entry.account, entry.asset, clock, minute, on_the_minute][is_credit] += entry.amount
