"""Turnovers: the sums of posted entries by minute, hour and day, on either clock.

The projection `entries` keeps them beside the entries, so that the cost of a sum up to any time grows with the number
of spans and not of entries. Sums are added up within a batch first, so most batches change few rows.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection

from domain.journal.arrays import text_array
from domain.journal.statements import statements_of
from domain.model.events import Recorded
from domain.model.streams import ledger_of
from domain.model.times import Instant
from domain.model.transactions import Posted
from projections.engine.projection import Queries

WHOLE_LEDGER = ""
"""Takes the account's place in sums over all accounts of a ledger."""

_COLUMNS = ("ledgers", "accounts", "assets", "clocks", "minutes", "on_the_minute", "debits", "credits")

_Span = tuple[str, str, str, bool]
"""A ledger, a clock, a minute, and whether exactly on the minute."""

_Sums = defaultdict[tuple[str, str], list[int]]
"""Debits and credits, by account and asset."""


def turn_over(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Add the entries that transactions posted to the sums of their spans of time."""
    rows = [
        (ledger, account, asset, clock, minute, str(on_the_minute), *map(str, sides))
        for (ledger, clock, minute, on_the_minute), sums in _sums(events).items()
        for (account, asset), sides in sums.items()
    ]
    columns = map(text_array, zip(*rows, strict=True))
    statements_of(connection).change(queries["turn_over"], dict(zip(_COLUMNS, columns, strict=True)))


def _sums(events: Sequence[Recorded]) -> Mapping[_Span, _Sums]:
    """Return the sums of debits and credits by span, and in it by account and asset."""
    sums: defaultdict[_Span, _Sums] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for recorded in events:
        event, recorded_at, ledger = recorded.event, recorded.envelope.recorded_at, ledger_of(recorded.stream)
        assert isinstance(event, Posted)
        if event.effective_at == recorded_at:
            _add(sums[_span(ledger, "both", recorded_at)], event)
        else:
            for clock, time in (("recorded", recorded_at), ("effective", event.effective_at)):
                of_span = sums[_span(ledger, clock, time)]
                _add(of_span, event)
                _add_by_account(of_span, event)
    return sums


def _span(ledger: str, clock: str, time: Instant) -> _Span:
    return ledger, clock, time[:16] + "Z", time[16:] == ":00.000000Z"


def _add(sums: _Sums, event: Posted) -> None:
    for entry in event.entries:
        sums[WHOLE_LEDGER, entry.asset][entry.direction == "credit"] += entry.amount


def _add_by_account(sums: _Sums, event: Posted) -> None:
    for entry in event.entries:
        sums[entry.account, entry.asset][entry.direction == "credit"] += entry.amount
