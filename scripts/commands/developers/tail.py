"""`tallystick tail`: the journal live, one line for each event, read from the database."""

import json
import sys
from collections.abc import Iterator
from time import sleep
from typing import Annotated, Any

import psycopg
import typer
from psycopg import Connection

from api.resources.journal.event_schemas import event_body
from domain.journal.database import Database
from domain.journal.outage import is_lost, outage_of
from domain.journal.reader import head_of
from domain.journal.shown_positions import ShownPositions, read_shown_positions
from domain.model.registry import EVENT_TYPES
from domain.transparency.leaves import hash_of
from projections.engine.journal_listener import JournalListener
from projections.read_models.event_history import MAX_POSITION, JournalEvent, events_after
from projections.read_models.event_keys import EventFilters
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    InstallationName,
    Schema,
    require,
    service_database,
)
from scripts.table import cell

POLL_SECONDS = 1.0
"""How often it looks by itself, since a notification can be missed."""

RECONNECT_SECONDS = 0.5
_PART = "tail"


def tail(
    ledger: Annotated[str | None, typer.Option(help="Only events of this ledger [all]")] = None,
    type: Annotated[str | None, typer.Option(help="Only events of this type, such as payout.failed")] = None,
    account: Annotated[str | None, typer.Option(help="Only events that mention this account")] = None,
    after: Annotated[
        int | None,
        typer.Option(
            min=0, max=MAX_POSITION - 1, help="Begin after this position; 0 is all [only new events]"
        ),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Go on until interrupted, or end at the newest event")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each event")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Print the events of the journal as they are recorded. Goes on after a lost connection, without a gap.

    Positions of one ledger are those that the API shows, wherever it moves. It ends when the ledger leaves.
    """
    if type is not None and type not in EVENT_TYPES:
        raise typer.BadParameter(f"must be one of {', '.join(sorted(EVENT_TYPES))}", param_hint="--type")
    if account is not None and ledger is None:
        raise typer.BadParameter("name the account's ledger too, with --ledger", param_hint="--account")
    filters = EventFilters(account=account, type=type)
    with service_database(database_url, data_dir, schema, installation) as database:
        with database.connect("tallystick tail") as connection:
            if ledger is not None:
                require(connection, ledger, account)
            place = head_of(connection) if after is None else _shown(connection, ledger).own(after)
        for event in _events(database, place, ledger, filters, follow=follow):
            typer.echo(json.dumps(event_body(event)) if as_json else _line(event))
            sys.stdout.flush()


def _events(
    database: Database, place: int, ledger: str | None, filters: EventFilters, *, follow: bool
) -> Iterator[JournalEvent]:
    """Yield the events after a position of the journal, for ever if they are to be followed.

    Exit 3 once all events of a ledger were yielded that has left.
    """
    while True:
        try:
            with database.connect("tallystick tail") as connection:
                outage_of(database).back(_PART)
                listener = JournalListener(connection, database)
                while True:
                    listener.hear()
                    found, reached = events_after(connection, place, ledger, filters)
                    # Only after they were read: the next connection begins where this one was lost.
                    place, is_newest = reached, reached == place
                    shown = _shown(connection, ledger if found else None)
                    yield from (_as_shown(event, shown) for event in found)
                    if is_newest and not follow:
                        return
                    if is_newest:
                        if ledger is not None:
                            require(connection, ledger)
                        listener.hear(POLL_SECONDS)
        except psycopg.Error as error:
            if not (follow and is_lost(error)):
                raise
            outage_of(database).lost(_PART, error)
            sleep(RECONNECT_SECONDS)


def _shown(connection: Connection[Any], ledger: str | None) -> ShownPositions:
    """Return where positions of a ledger are shown; those of the whole journal are shown as they are."""
    return ShownPositions() if ledger is None else read_shown_positions(connection, ledger)


def _as_shown(event: JournalEvent, positions: ShownPositions) -> JournalEvent:
    """Return an event at the position where it is shown, with the hash of its leaf where it was recorded."""
    stream, version, topic, state, position = event.row
    leaf_hash = hash_of(positions.recorded(position), stream, version, topic, state)
    return JournalEvent((*event.row[:4], positions.shown(position)), event.content, leaf_hash)


def _line(event: JournalEvent) -> str:
    time = (event.content.text("recorded_at") or "-").replace("T", " ")
    stream, _, topic, _, position = event.row
    key = event.content.text("idempotency_key")
    words = [f"{position:>6}", time, f"{topic:<26}", stream, f"by {event.content.text('actor') or '-'}"]
    return "  ".join(cell(word) for word in [*words, *([f"key {key}"] if key else [])])
