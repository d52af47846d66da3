"""Importing an export into an empty journal: the same bytes at the same positions, so that old proofs stay valid."""

from typing import Any

from psycopg import Connection

from domain.journal.abbreviations import Abbreviator
from domain.journal.database import Database
from domain.journal.queries import load
from domain.model.installation.checkpoints import CheckpointWitnessed
from domain.model.streams import name_of
from domain.transparency.export_format import Exported, read_event
from projections.exports.export_file import ExportFile
from projections.exports.moved_ledgers import MovedLedgers

_SQL = load(__name__)
_TYPES = ("text", "int8", "text", "bytea", "int8", "int2")


class NotEmpty(Exception):
    """The journal has events already, so imported ones would get other positions."""


class NotWhole(Exception):
    """The file does not begin with the first event of a journal."""


def import_events(database: Database, file: ExportFile) -> int:
    """Append all events of a verified file, or none; return the newest position.

    Raises, in this order, `NotWhole`, `NotEmpty`, `NotShown` if an older release exported a ledger that had arrived,
    and what a verification would find too: `Malformed` or `Unfoldable`.
    """
    if file.begin.since != 1:
        raise NotWhole
    with database.connect("tallystick import") as connection, connection.transaction():
        (head,) = _SQL["lock_head"].only(connection)
        (has_events,) = _SQL["has_events"].only(connection)
        if head or has_events:
            raise NotEmpty
        moved = MovedLedgers(file.seal.shown)
        position = _copy(connection, file, moved)
        _keep_moves(connection, moved)
        at_head = {"position": position, "recorded_at": moved.recorded_at}
        _SQL["move_head"].run(connection, {**at_head, "channel": database.journal_channel})
    return position


def _copy(connection: Connection[Any], file: ExportFile, moved: MovedLedgers) -> int:
    """Copy the events; return the position of the last one. Note the ledgers that leave and arrive."""
    last: Exported | None = None
    abbreviate = Abbreviator()
    witnessed = set[str]()
    with connection.cursor().copy(_SQL["copy"]) as copy:
        copy.set_types(_TYPES)
        for _, line in file.lines():
            last, _ = read_event(line)
            moved.read(last)
            state, shares = abbreviate(last.topic, last.state)
            copy.write_row((last.stream, last.version, last.topic, state, last.position, shares))
            if last.topic == CheckpointWitnessed.TOPIC:
                witnessed.add(name_of(last.stream))
    if witnessed:
        _SQL["witnessed"].run(connection, {"names": sorted(witnessed)})
    return 0 if last is None else last.position


def _keep_moves(connection: Connection[Any], moved: MovedLedgers) -> None:
    """Keep what the restored installation must know of ledgers that moved: what is not written here, and positions."""
    for standing in moved.standings:
        _SQL["keep_move"].run(connection, standing._asdict())
    for ledger, ranges in moved.shown.items():
        positions, shown, recorded = map(list, zip(*ranges, strict=True))
        values = {"ledger": ledger, "positions": positions, "shown": shown, "recorded": recorded}
        _SQL["keep_shown"].run(connection, values)
    if moved.copies:
        first, last, ledgers, recorded_at = map(list, zip(*moved.copies, strict=True))
        values = {"first": first, "last": last, "ledgers": ledgers, "recorded_at": recorded_at}
        _SQL["keep_copies"].run(connection, values)
