"""The list of ledgers, as `domain.model.ledgers.Ledger` has them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from domain.model.events import Recorded
from domain.model.ledgers import EVENTS, Ledger
from domain.model.money import split_asset
from domain.model.moves import OF_LEDGERS
from domain.model.registry import evolve
from domain.model.streams import ledger_of
from domain.model.times import Instant, instant
from projections.engine.live_version import Page, Rows, read_live, read_rows
from projections.engine.projection import Inconsistent, Projection, Queries, directed


class LedgerPlace(NamedTuple):
    """The place of a ledger in the list. Ledgers opened by one commit have the same time, so the name is needed too."""

    opened_at: Instant
    name: str


def list_ledgers(
    connection: Connection[Any],
    *,
    after: LedgerPlace | None = None,
    limit: int,
    descending: bool = False,
    most_bytes: int | None = None,
    granted: Sequence[str] | None = None,
) -> Page[Ledger]:
    """Return up to `limit` ledgers, oldest first, that come after `after`. `granted` restricts them, unless None.

    The page ends early with the item that makes it larger than `most_bytes`, unless that is None.
    """
    wanted = {
        "after_time": after.opened_at if after else None,
        "after_name": after.name if after else None,
        "limit": limit,
        "granted": None if granted is None else list(granted),
    }

    def read(cursor: Cursor[TupleRow], version: int) -> Rows[TupleRow]:
        query = directed(PROJECTION.queries(version)["list"], descending=descending)
        return read_rows(cursor, query, wanted, most_bytes)

    reading = read_live(connection, PROJECTION, read)
    return Page(reading.found.read_as(map(_ledger, reading.found)), *reading[1:])


def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Fold events into their ledgers, and store these."""
    names = list({ledger_of(recorded.stream) for recorded in events})
    ledgers = {row[0]: _ledger(row) for row in queries["find"].rows(connection, {"names": names})}
    for recorded in events:
        name = ledger_of(recorded.stream)
        ledger = ledgers.get(name)
        if recorded.version != (ledger.version if ledger else 0) + 1:
            raise Inconsistent(f"ledger {name} is not at the version before event {recorded.position}")
        ledgers[name] = evolve(ledger, recorded)
    for ledger in ledgers.values():
        queries["keep"].run(connection, _row(ledger))


def _row(ledger: Ledger) -> dict[str, Any]:
    return {
        "name": ledger.name,
        "metadata": Jsonb(ledger.metadata),
        "assets": [f"{code}/{scale}" for code, scale in ledger.assets.items()],
        "opened_at": ledger.opened_at,
        "version": ledger.version,
        "position": ledger.position,
    }


def _ledger(row: TupleRow) -> Ledger:
    name, metadata, assets, opened_at, version, position = row
    return Ledger(name, metadata, dict(map(split_asset, assets)), instant(opened_at), version, position)


# Shape 1 did not read the events of moves.
PROJECTION = Projection(
    "ledgers", __name__, (*EVENTS, *OF_LEDGERS), ("ledgers",), project, by_stream=True, shape=2
)
