"""The list of payouts, as `domain.model.payouts.payout.Payout` has them, and what the ledger has to do about them when.

Rows are folded with the aggregate's own `evolve`, so that a payout reads the same here as in a confirmation read.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import json
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow, tuple_row

from domain.journal.database import Database
from domain.model.events import Recorded
from domain.model.payouts.payout import EVENTS, Payout, PayoutState, Requested, evolve
from domain.model.streams import ledger_of, name_of
from domain.model.times import Instant
from projections.engine.live_version import Page, Reading, Rows, read_live, read_rows
from projections.engine.projection import Inconsistent, Projection, Queries, directed
from projections.read_models.rejections import with_details

_encode = json.Encoder().encode
_decode = json.Decoder(Payout).decode


class PayoutFilters(NamedTuple):
    """What a payout must be to be listed; what is null or empty filters nothing."""

    state: PayoutState | None = None
    account: str | None = None
    provider: str | None = None


class DuePayout(NamedTuple):
    """A payout that the ledger has to do something about; `position` is that of its last event."""

    ledger: str
    id: str
    provider: str
    position: int


def payouts_channel(database: Database) -> str:
    """Return the channel on which it is announced that a payout became due, now or at a time."""
    return f"{database.schema}_payouts"


def list_payouts(
    connection: Connection[Any],
    ledger: str,
    filters: PayoutFilters = PayoutFilters(),  # noqa: B008 - it cannot be changed
    *,
    after: int | None = None,
    limit: int,
    descending: bool = False,
    most_bytes: int | None = None,
) -> Page[Payout]:
    """Return up to `limit` payouts by when they were asked for, that come after the `made_position` `after`.

    They are `Rows`, which end early with the one that makes them larger than `most_bytes`, unless that is None.
    """
    wanted = {
        **{name: value or None for name, value in filters._asdict().items()},
        "ledger": ledger,
        "after": after,
        "limit": limit,
    }

    def read(cursor: Cursor[TupleRow], version: int) -> Rows[Payout]:
        query = directed(PROJECTION.queries(version)["page"], descending=descending)
        rows = read_rows(cursor, query, wanted, most_bytes)
        return rows.read_as(with_details(cursor, map(_payout, rows)))

    return Page(*read_live(connection, PROJECTION, read))


def list_due_payouts(
    connection: Connection[Any],
    now: Instant,
    free: Mapping[str, int],
    excluding: Collection[str] = (),
    well_since: Mapping[str, Instant] | None = None,
) -> Reading[list[DuePayout]]:
    """Return the payouts that are due by now, longest due first, but for those with the ids `excluding`.

    Of each provider there are as many as it is `free` for, so that what waits for one does not hide another's. Of a
    provider that is `well_since` an instant, what is in doubt since before that is due as well.
    """
    wanted = {
        "now": now,
        "providers": list(free),
        "limits": list(free.values()),
        "excluding": list(excluding),
        "well_since": [(well_since or {}).get(name) for name in free],
    }

    def read(cursor: Cursor[TupleRow], version: int) -> list[DuePayout]:
        rows = cursor.execute(PROJECTION.queries(version)["list_due"], wanted).fetchall()
        return [DuePayout(*row) for row in rows]

    return read_live(connection, PROJECTION, read)


def count_forgotten(connection: Connection[Any], now: Instant, known: Collection[str]) -> dict[str, int]:
    """Return how many payouts are due of each provider that is not among those that are known."""
    wanted = {"now": now, "known": list(known)}

    def read(cursor: Cursor[TupleRow], version: int) -> dict[str, int]:
        return dict(cursor.execute(PROJECTION.queries(version)["forgotten"], wanted).fetchall())

    return read_live(connection, PROJECTION, read).found


def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Add the payouts that were asked for, and fold the other events into those that they change."""
    begun = {recorded.stream for recorded in events if isinstance(recorded.event, Requested)}
    known: dict[str, Payout] = _found(
        connection, queries, sorted({recorded.stream for recorded in events} - begun)
    )
    for recorded in events:
        payout = known.get(recorded.stream)
        if recorded.version != (payout.version if payout else 0) + 1:
            raise Inconsistent(f"{recorded.stream} is not at the version before event {recorded.position}")
        known[recorded.stream] = evolve(payout, recorded)
    _keep(connection, queries, known.values())


def _found(connection: Connection[Any], queries: Queries, streams: Sequence[str]) -> dict[str, Payout]:
    if not streams:
        return {}
    wanted = {
        "ledgers": [ledger_of(stream) for stream in streams],
        "ids": [name_of(stream) for stream in streams],
    }
    rows = connection.cursor(row_factory=tuple_row).execute(queries["find"].encode(), wanted).fetchall()
    payouts = map(_payout, rows)
    return {f"{payout.ledger}/payouts/{payout.id}": payout for payout in payouts}


def _keep(connection: Connection[Any], queries: Queries, payouts: Iterable[Payout]) -> None:
    kept = list(payouts)
    columns: dict[str, list[Any]] = {
        "ledgers": [payout.ledger for payout in kept],
        "ids": [payout.id for payout in kept],
        "made_positions": [payout.made_position for payout in kept],
        "states": [payout.state for payout in kept],
        "accounts": [payout.account for payout in kept],
        "providers": [payout.provider for payout in kept],
        "due_at": [payout.due_at for payout in kept],
        "changed_at": [payout.changed_at for payout in kept],
        "positions": [payout.position for payout in kept],
        "versions": [payout.version for payout in kept],
        "bodies": [_encode(_kept(payout)).decode() for payout in kept],
    }
    connection.execute(queries["keep"], columns)
    if any(payout.due_at for payout in kept):
        connection.execute(queries["announce"])


def _kept(payout: Payout) -> Any:
    """Return a payout as rows keep it: the details of its refusal stand in the journal (rejections.py)."""
    rejection: Any = payout.rejection and payout.rejection[:2]
    return payout._replace(rejection=rejection)


def _payout(row: TupleRow) -> Payout:
    """Return the payout of a row, whose version counts the events that were discarded as well."""
    body, version = row
    return _decode(body)._replace(version=version)


PROJECTION = Projection("payouts", __name__, EVENTS, ("payouts",), project, by_stream=True)
