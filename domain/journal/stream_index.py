"""The indexes of streams: by key (migrations/0020_stream_keys.sql), and by name, which only older releases need.

A journal that had events when it was migrated has the index by names, and every query uses it. `finish` gives it the
indexes that a new journal has, while it is written, and then drops that one. Killed at any moment, it is run again.
"""

from time import sleep

from psycopg import Connection, errors
from psycopg.rows import TupleRow

from domain.journal.database import Database
from domain.journal.queries import load

LOCK_SECONDS = 1
"""How long the table is asked for at a time. Whatever waits for it makes all others wait behind it."""

ATTEMPTS = 120
PAUSE_SECONDS = 1.0

_SQL = load(__name__)


class FinishedElsewhere(Exception):
    """Another process is at it."""


def has_names(connection: Connection[TupleRow]) -> bool:
    """Tell whether the journal has the index by names."""
    return _SQL["by_names"].row(connection) is not None


def finish(database: Database) -> bool:
    """Make the indexes by key, then drop the index by names. Return whether there was one.

    Older releases find streams only by reading the whole journal then. Raises `FinishedElsewhere`, and
    `psycopg.Error`, after which it can be run again.
    """
    with database.connect_as_owner("tallystick migrate") as connection:
        # Not awaited: a session that waits has a snapshot, and an index is done only when older snapshots are gone.
        if not _SQL["try_lock"].only(connection)[0]:
            raise FinishedElsewhere
        if not has_names(connection):
            return False
        for (unfinished,) in _SQL["unfinished"].rows(connection):
            connection.execute(_SQL["drop_unfinished"].fill(index=unfinished))
        _SQL["index_streams"].run(connection)
        _SQL["index_ledgers"].run(connection)
        # Statistics of the keys, without which plans take a stream to be a two-hundredth of the journal.
        _SQL["analyze"].run(connection)
        _drop_names(connection)
        return True


def _drop_names(connection: Connection[TupleRow]) -> None:
    connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            _SQL["drop_names"].run(connection)
            return
        except errors.LockNotAvailable:
            if not attempts_left:
                raise
            sleep(PAUSE_SECONDS)
