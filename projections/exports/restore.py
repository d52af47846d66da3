"""Importing an export into an empty journal: the same bytes at the same positions, so that old proofs stay valid."""

from typing import Any

from psycopg import Connection

from domain.journal.abbreviations import Abbreviator
from domain.journal.database import Database
from domain.journal.queries import load
from domain.model.installation.checkpoints import CheckpointWitnessed
from domain.model.moves import ArrivalBegun, MoveCancelled, Moved, MoveStarted
from domain.model.streams import ledger_of, name_of
from domain.model.times import EARLIEST, Instant
from domain.transparency.export_format import Exported, read_event
from projections.audit.stored import parsed
from projections.exports.export_file import ExportFile

_SQL = load(__name__)
_MOVES = {event.TOPIC for event in (ArrivalBegun, MoveStarted, MoveCancelled, Moved)}
_TYPES = ("text", "int8", "text", "bytea", "int8", "int2")


class NotEmpty(Exception):
    """The journal has events already, so imported ones would get other positions."""


class HasArrivals(Exception):
    """A ledger arrived from another installation. Where its positions are shown is in no export, only in backups."""


class NotWhole(Exception):
    """The file does not begin with the first event of a journal."""


def import_events(database: Database, file: ExportFile) -> int:
    """Append all events of a verified file, or none; return the newest position.

    Raises, in this order, `NotWhole`, `NotEmpty`, `HasArrivals`, and what a verification would find too: `Malformed` or
    `Unfoldable`.
    """
    if file.begin.since != 1:
        raise NotWhole
    with database.connect("tallystick import") as connection, connection.transaction():
        (head,) = _SQL["lock_head"].only(connection)
        (has_events,) = _SQL["has_events"].only(connection)
        if head or has_events:
            raise NotEmpty
        moves: dict[str, tuple[str, str]] = {}
        position, recorded_at = _copy(connection, file, moves)
        for ledger, (state, installation) in moves.items():
            _SQL["keep_move"].run(
                connection, {"ledger": ledger, "state": state, "installation": installation}
            )
        moved = {"position": position, "recorded_at": recorded_at, "channel": database.journal_channel}
        _SQL["move_head"].run(connection, moved)
    return position


def _copy(
    connection: Connection[Any], file: ExportFile, moves: dict[str, tuple[str, str]]
) -> tuple[int, Instant]:
    """Copy the events; return the position and the recorded time of the last one. Note the ledgers that leave."""
    last: Exported | None = None
    abbreviate = Abbreviator()
    witnessed = set[str]()
    with connection.cursor().copy(_SQL["copy"]) as copy:
        copy.set_types(_TYPES)
        for _, line in file.lines():
            last, _ = read_event(line)
            if last.topic in _MOVES:
                _note_move(last, moves)
            state, shares = abbreviate(last.topic, last.state)
            copy.write_row((last.stream, last.version, last.topic, state, last.position, shares))
            if last.topic == CheckpointWitnessed.TOPIC:
                witnessed.add(name_of(last.stream))
    if witnessed:
        _SQL["witnessed"].run(connection, {"names": sorted(witnessed)})
    if last is None:
        return 0, EARLIEST
    stored = parsed(last.stream, last.version, last.topic, last.state, last.position)
    return last.position, stored.envelope["recorded_at"]


def _note_move(event: Exported, moves: dict[str, tuple[str, str]]) -> None:
    """Note what the restored installation must know of a ledger that moves, so that it is not written here."""
    if event.topic == ArrivalBegun.TOPIC:
        raise HasArrivals
    data = parsed(event.stream, event.version, event.topic, event.state, event.position).data
    ledger = ledger_of(event.stream)
    if event.topic == MoveCancelled.TOPIC:
        moves.pop(ledger, None)
    else:
        moves[ledger] = "left" if event.topic == Moved.TOPIC else "frozen", data["to_installation"]
