"""Copies: a ledger's events, read from one journal and appended to another with the same bytes.

They keep their order, streams, versions, topics and stored bytes, and get new positions. Where they are shown is noted
beside them (domain/journal/shown_positions.py). The events of a command stay together: no other writer's come between
them, as no other writer's did where they were recorded.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.abbreviations import WHOLE
from domain.journal.arrays import bigint_array
from domain.journal.encoding import envelope_in
from domain.journal.queries import load
from domain.journal.reader import Row, StretchRow, whole_rows, with_bases
from domain.journal.recording import Recorder
from domain.journal.shown_positions import ShownPositions
from domain.journal.writer import Rows
from domain.model.streams import ledger_stream

MOST_EVENTS = 2_000
"""How many events are copied at once, unless one command has more. For so long, about 50 ms, the new place's own
writers wait."""

WINDOW_POSITIONS = 20_000
"""How much of a journal is searched at once for events of the ledger."""

_SQL = load(__name__)


class Batch(NamedTuple):
    """Events of a ledger as they are stored, whole commands, and the position up to which these are all."""

    rows: list[StretchRow]
    reached: int


def next_batch(connection: Connection[Any], ledger: str, after: int, upto: int) -> Batch:
    """Return the next events of a ledger after a position. `upto` is a position at which no command is incomplete."""
    limit, window = MOST_EVENTS, WINDOW_POSITIONS
    while True:
        until = min(after + window, upto)
        wanted = {"ledger": ledger, "after": after, "until": until, "limit": limit}
        rows: list[StretchRow] = _SQL["next"].rows(connection, wanted, binary=True)
        is_full = len(rows) == limit
        if until == upto and not is_full:
            return Batch(rows, upto)
        if not rows:
            return Batch([], until)
        begin = _last_begin(rows)
        if begin:
            return Batch(rows[:begin], rows[begin][4] - 1)
        limit, window = limit * 2, window * 2


def _last_begin(rows: Sequence[StretchRow]) -> int:
    """Return the index at which the last of several commands begins, 0 if there is only one."""
    return next((number for number in range(len(rows) - 1, 0, -1) if _begins(rows, number)), 0)


def _begins(rows: Sequence[StretchRow], number: int) -> bool:
    """Tell whether a command begins with a row that is not the first."""
    _, _, _, state, position, shares = rows[number]
    _, _, _, state_before, position_before, shares_before = rows[number - 1]
    if shares is not None:
        return shares == 0
    is_alike = shares_before is None and envelope_in(state) == envelope_in(state_before)
    return not is_alike or position != position_before + 1


def all_rows(connection: Connection[Any], ledger: str, after: int, upto: int) -> Iterator[Row]:
    """Yield the events of a ledger between two positions, with their states made whole."""
    while after < upto:
        rows, after = next_batch(connection, ledger, after, upto)
        yield from whole_rows(with_bases(connection, rows))


def last_of_ledger(connection: Connection[Any], ledger: str) -> Row | None:
    """Return the newest event of a ledger's own stream, None if there is none."""
    rows = _SQL["last_of_ledger"].rows(connection, {"stream": ledger_stream(ledger)}, binary=True)
    return next(iter(whole_rows(rows)), None)


def stored_rows(connection: Connection[Any], rows: Sequence[StretchRow]) -> list[StretchRow]:
    """Return rows as they can be stored one after the other: whole if the envelope that they share is not with them."""
    positions = [row[4] for row in rows]
    apart = {
        row[4]
        for number, row in enumerate(rows)
        if row[5] and (number < row[5] or positions[number - row[5]] != row[4] - row[5])
    }
    if not apart:
        return list(rows)
    whole = {
        row[4]: row for row in whole_rows(with_bases(connection, [row for row in rows if row[4] in apart]))
    }
    return [(*whole[row[4]], WHOLE) if row[4] in apart else row for row in rows]


def append_copies(
    connection: Connection[Any],
    recorder: Recorder,
    ledger: str,
    rows: Sequence[StretchRow],
    positions: ShownPositions,
) -> int:
    """Append rows of another journal, and note where they are shown. Return where the last of them is.

    `positions` are those of the journal that they come from.
    """
    first = recorder.position + 1
    shown = [positions.shown(row[4]) for row in rows]
    recorded = [positions.recorded(row[4]) for row in rows]
    streams, versions, topics, states, _, shares = map(list, zip(*rows, strict=True))
    of_rows = [WHOLE if share is None else share for share in shares]
    recorder.copy(Rows(recorder.position, streams, versions, topics, states, of_rows))
    places = list(zip(shown, recorded, strict=True))
    begins = [at for at in range(len(places)) if at == 0 or not _follows(places[at - 1], places[at])]
    _note(connection, ledger, [(first + at, *places[at]) for at in begins])
    noted = {"first": first, "last": recorder.position, "ledger": ledger}
    _SQL["note_copied"].run(connection, {**noted, "recorded_at": recorder.head_recorded_at})
    return shown[-1]


def note_arrival(connection: Connection[Any], ledger: str, position: int, offset: int) -> None:
    """Note where positions are shown from an arrival on."""
    _note(connection, ledger, [(position, position + offset, position)])


def _follows(before: tuple[int, int], place: tuple[int, int]) -> bool:
    return place == (before[0] + 1, before[1] + 1)


def _note(connection: Connection[Any], ledger: str, ranges: Sequence[tuple[int, int, int]]) -> None:
    positions, shown, recorded = map(bigint_array, zip(*ranges, strict=True))
    wanted = {"ledger": ledger, "positions": positions, "shown": shown, "recorded": recorded}
    _SQL["note_ranges"].run(connection, wanted)
